//! The server is killed at random moments under load and started again on the same file. Every
//! message that got status 0 arrives, in order, and exactly once at a client that acknowledges.
//!
//! `CRASHES=20 CRASH_SEED=7 cargo test -p messenger-server --test crash` repeats a run, or makes a
//! longer one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{Password, SendMessage, SessionId, UserId};
use messenger_client::{Client, ClientError, Events, connect};
use messenger_core::testing::SeededEntropy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::SOON;
use support::process::Process;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const SENDERS: usize = 8;
const RECIPIENTS: usize = 4;

fn pass() -> Password {
    Password::md5_of("secret")
}

/// A sender: it sends numbered messages to everyone, and again those whose replies did not come.
struct Sender {
    login: String,
    session: (UserId, SessionId),
    next: usize,
    unsure: Vec<SendMessage>,
    /// Bodies accepted, by recipient, in the order in which they were first sent.
    accepted: BTreeMap<String, Vec<String>>,
    /// Contacts as they were acknowledged; `None` where the answer did not come.
    contacts: BTreeMap<String, Option<bool>>,
}

impl Sender {
    /// Sends until the connection breaks.
    async fn run(&mut self, address: &str) {
        let Ok((client, _events)) = connect(address).await else {
            return;
        };
        let (cid, sid) = &self.session;
        if client.resume(cid, sid).await.is_err() {
            return;
        }
        for message in std::mem::take(&mut self.unsure) {
            self.send(&client, message).await;
        }
        while self.unsure.is_empty() {
            let recipient = self.next % RECIPIENTS;
            let body = format!("{} {}", self.login, self.next);
            let message = SendMessage::new(format!("recipient{recipient}"), body)
                .mid(format!("mid {}", self.next));
            self.next += 1;
            self.send(&client, message).await;
            if self.next.is_multiple_of(8) {
                self.change_contact(&client, format!("recipient{recipient}"))
                    .await;
            }
        }
    }

    /// Adds a contact, or deletes it when it is one.
    async fn change_contact(&mut self, client: &Client, contact: String) {
        let change = match self.contacts.get(&contact) {
            // Nobody knows what it is by now.
            Some(None) => return,
            Some(Some(true)) => client.del_contact(contact.as_str()).await.map(|_| false),
            Some(Some(false)) | None => client.add_contact(contact.as_str()).await.map(|_| true),
        };
        if let Err(ClientError::Refused(failure)) = &change {
            panic!("refused: {failure}");
        }
        self.contacts.insert(contact, change.ok());
    }

    async fn check_contacts(&self, client: &Client) {
        let list = client.contact_list().await.unwrap();
        let listed: BTreeSet<_> = list.iter().map(|one| one.card.uid.as_str()).collect();
        for (contact, is_one) in &self.contacts {
            if let Some(is_one) = is_one {
                let is_listed = listed.contains(contact.as_str());
                assert_eq!(is_listed, *is_one, "{contact} of {}", self.login);
            }
        }
    }

    async fn send(&mut self, client: &Client, message: SendMessage) {
        match client.send_message(message.clone()).await {
            Ok(_) => {
                let accepted = self.accepted.entry(message.uid.as_str().to_owned());
                accepted.or_default().push(message.body.as_str().to_owned());
            }
            Err(ClientError::Refused(failure)) => panic!("refused: {failure}"),
            Err(_) => self.unsure.push(message),
        }
    }
}

/// Registers one account after the other until the connection breaks; those acknowledged.
async fn register_accounts(address: String, round: u64) -> Vec<String> {
    let mut registered = Vec::new();
    let Ok((client, _events)) = connect(&address).await else {
        return registered;
    };
    for number in 0.. {
        let login = format!("account-{round}-{number}");
        match client.register(&login, &pass(), &login).await {
            Ok(_) => registered.push(login),
            Err(ClientError::Refused(failure)) => panic!("refused: {failure}"),
            Err(_) => break,
        }
    }
    registered
}

/// A recipient that acknowledges.
struct Recipient {
    session: (UserId, SessionId),
    /// What it has processed, as a real client would keep it in a file.
    processed: Arc<Mutex<Processed>>,
}

#[derive(Default)]
struct Processed {
    seq: u64,
    bodies: Vec<String>,
}

impl Recipient {
    async fn connect(&self, address: &str) -> Result<(Client, Events), ClientError> {
        let connected = connect(address).await;
        let (client, mut events) = connected.map_err(|_| ClientError::Closed)?;
        let seq = self.processed.lock().unwrap().seq;
        events.skip_up_to(seq);
        let (cid, sid) = &self.session;
        client.resume_and_ack(cid, sid, seq).await?;
        Ok((client, events))
    }

    /// Processes and acknowledges until the connection breaks.
    async fn run(&self, address: &str) {
        let Ok((client, mut events)) = self.connect(address).await else {
            return;
        };
        while let Ok(event) = events.next_message().await {
            let seq = self.process(event);
            if client.ack(seq).await.is_err() {
                return;
            }
        }
    }

    fn process(&self, event: messenger_client::proto::EvMessage) -> u64 {
        let seq = event.seq.expect("an inbox message");
        let mut processed = self.processed.lock().unwrap();
        assert_eq!(seq, processed.seq + 1, "a gap, or twice");
        processed.seq = seq;
        let body = event.message.body.as_str().to_owned();
        processed.bodies.push(body);
        seq
    }
}

async fn new_session(address: &str, login: &str, ack: bool) -> (UserId, SessionId) {
    let (client, _events) = connect(address).await.unwrap();
    client.register(login, &pass(), login).await.unwrap();
    let accepted = if ack {
        client.auth_with_ack(login, &pass()).await
    } else {
        client.auth(login, &pass()).await
    };
    let accepted = accepted.unwrap();
    (accepted.uid, accepted.sid)
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_killing_the_server() {
    let crashes = from_environment("CRASHES").unwrap_or(5);
    let seed = from_environment("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("repeat with CRASHES={crashes} CRASH_SEED={seed}");
    let random = SeededEntropy::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messenger.db");

    let mut process = Process::start(&store).await;
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let login = format!("sender{number}");
        senders.push(Sender {
            session: new_session(&process.address, &login, false).await,
            login,
            next: 0,
            unsure: Vec::new(),
            accepted: BTreeMap::new(),
            contacts: BTreeMap::new(),
        });
    }
    let mut recipients = Vec::new();
    for number in 0..RECIPIENTS {
        let login = format!("recipient{number}");
        recipients.push(Arc::new(Recipient {
            session: new_session(&process.address, &login, true).await,
            processed: Arc::default(),
        }));
    }

    let mut accounts = Vec::new();
    for round in 0..crashes {
        let address = process.address.clone();
        let registering = tokio::spawn(register_accounts(address.clone(), round));
        let sending = senders.into_iter().map(|mut sender| {
            let address = address.clone();
            tokio::spawn(async move {
                sender.run(&address).await;
                sender
            })
        });
        let sending: Vec<_> = sending.collect();
        let receiving = recipients.iter().map(|recipient| {
            let (recipient, address) = (Arc::clone(recipient), address.clone());
            tokio::spawn(async move { recipient.run(&address).await })
        });
        let receiving: Vec<_> = receiving.collect();
        // The moment is the point, and there is nothing to wait for.
        sleep(Duration::from_millis(20 + random.next() % 400)).await;
        process.kill().await;
        accounts.extend(timeout(SOON, registering).await.unwrap().unwrap());
        senders = Vec::new();
        for task in sending {
            senders.push(timeout(SOON, task).await.unwrap().unwrap());
        }
        for task in receiving {
            timeout(SOON, task).await.unwrap().unwrap();
        }
        process = Process::start(&store).await;
    }

    // What was never answered is sent once more, and everybody reads to the end.
    for sender in &mut senders {
        let (client, _events) = connect(&process.address).await.unwrap();
        let (cid, sid) = &sender.session;
        client.resume(cid, sid).await.unwrap();
        for message in std::mem::take(&mut sender.unsure) {
            sender.send(&client, message).await;
        }
        sender.check_contacts(&client).await;
        for account in &accounts {
            let profile = client.user_info(account.as_str()).await;
            assert_eq!(profile.expect("an account lost").nick, **account);
        }
    }
    let mut total = 0;
    for (number, recipient) in recipients.iter().enumerate() {
        let login = format!("recipient{number}");
        let mut expected = BTreeSet::new();
        for sender in &senders {
            expected.extend(sender.accepted.get(&login).into_iter().flatten().cloned());
        }
        total += expected.len();
        let (_client, mut events) = recipient.connect(&process.address).await.unwrap();
        while recipient.processed.lock().unwrap().bodies.len() < expected.len() {
            let event = timeout(SOON, events.next_message())
                .await
                .expect("a message lost");
            recipient.process(event.unwrap());
        }
        let processed = recipient.processed.lock().unwrap();
        let once: BTreeSet<_> = processed.bodies.iter().cloned().collect();
        assert_eq!(once.len(), processed.bodies.len(), "processed twice");
        assert_eq!(once, expected, "not what was accepted");
        for sender in &senders {
            let of_sender = |body: &&String| body.split(' ').next() == Some(&sender.login);
            let received: Vec<_> = processed.bodies.iter().filter(of_sender).collect();
            let sent = sender.accepted.get(&login).into_iter().flatten();
            assert_eq!(received, sent.collect::<Vec<_>>(), "out of order");
        }
    }
    let registered = accounts.len();
    println!("{total} messages and {registered} accounts through {crashes} crashes");
    assert!(total > 0 && registered > 0);
}

async fn send(client: &Client, to: &UserId, body: &str) {
    let message = SendMessage::new(to.clone(), body);
    client.send_message(message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_contacts_and_sessions_are_as_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messenger.db");
    let process = Process::start(&store).await;
    let (ann, _events) = connect(&process.address).await.unwrap();
    ann.register("ann", &pass(), "Ann").await.unwrap();
    let session = ann.auth("ann", &pass()).await.unwrap();
    new_session(&process.address, "bob", false).await;
    ann.add_contact("bob").await.unwrap();
    let message = SendMessage::new("bob", "before").mid("m");
    let first = ann.send_message(message.clone()).await.unwrap();
    process.kill().await;

    let process = Process::start(&store).await;
    let (ann, _events) = connect(&process.address).await.unwrap();
    ann.resume(&session.uid, &session.sid).await.unwrap();
    assert_eq!(ann.contact_list().await.unwrap()[0].card.nick, "bob");
    assert_eq!(
        ann.send_message(message).await.unwrap(),
        first,
        "the mid is remembered"
    );
    let (bob, mut events) = connect(&process.address).await.unwrap();
    let taken = bob.register("bob", &pass(), "another").await;
    assert!(matches!(taken, Err(ClientError::Refused(failure)) if failure.code.number() == 1));
    bob.auth("bob", &pass()).await.unwrap();
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!(
        (event.message.body.as_str(), event.seq),
        ("before", Some(1))
    );
    // A sequence number that was acknowledged is as durable as anything.
    let carol = UserId::from("carol");
    let session_of_carol = new_session(&process.address, "carol", true).await;
    for body in ["one", "two", "three"] {
        send(&ann, &carol, body).await;
    }
    let (client, mut events) = connect(&process.address).await.unwrap();
    client
        .resume(&session_of_carol.0, &session_of_carol.1)
        .await
        .unwrap();
    for _ in 0..3 {
        timeout(SOON, events.next_message()).await.unwrap().unwrap();
    }
    client.ack(2).await.unwrap();
    process.kill().await;

    let process = Process::start(&store).await;
    let (client, mut events) = connect(&process.address).await.unwrap();
    client
        .resume(&session_of_carol.0, &session_of_carol.1)
        .await
        .unwrap();
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!(event.seq, Some(3), "the first that was not acknowledged");
    process.kill().await;

    // The file makes sense to a person, and shows no secret.
    let file = rusqlite::Connection::open(&store).unwrap();
    let login: String = file
        .query_row(
            "SELECT contact FROM contacts WHERE owner = 'ann'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(login, "bob");
    let bytes = std::fs::read(&store).unwrap();
    let secret = session.sid.as_str().as_bytes();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_while_the_server_runs_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy) = (folder.path().join("m.db"), folder.path().join("copy.db"));
    let process = Process::start(&store).await;
    let bob = new_session(&process.address, "bob", false).await;
    let (ann, _events) = connect(&process.address).await.unwrap();
    ann.register("ann", &pass(), "Ann").await.unwrap();
    ann.auth("ann", &pass()).await.unwrap();
    send(&ann, &bob.0, "before the copy").await;
    let back_up = async |copy: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command.arg("backup").arg(copy).arg("--store");
        let command = command.arg(format!("sqlite:{}", store.display()));
        timeout(SOON, command.output()).await.unwrap().unwrap()
    };
    let done = back_up(&copy).await;
    assert!(done.status.success(), "{done:?}");
    send(&ann, &bob.0, "behind it").await;
    let again = back_up(&copy).await;
    assert_eq!(again.status.code(), Some(1));
    let text = String::from_utf8(again.stderr).unwrap();
    assert!(text.contains("is there already"), "{text}");
    process.kill().await;

    let process = Process::start(&copy).await;
    let (client, mut events) = connect(&process.address).await.unwrap();
    client.resume(&bob.0, &bob.1).await.unwrap();
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!(event.message.body.as_str(), "before the copy");
    send(&client, &bob.0, "a note").await;
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!(event.message.body.as_str(), "a note", "and nothing else");
}

/// The store is lost, and a copy from before serves instead. A client that acknowledges, remembers the last number
/// and drops those it has seen, gets all that is accepted from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_what_is_accepted_after_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = async |command: &[&str], store: &std::path::Path| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        let child = child.args(command).arg("--store");
        let child = child.arg(format!("sqlite:{}", store.display()));
        let output = timeout(SOON, child.output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let process = Process::start(&path("m.db")).await;
    let bob = Recipient {
        session: new_session(&process.address, "bob", true).await,
        processed: Arc::default(),
    };
    let ann = new_session(&process.address, "ann", false).await;
    let copy = path("copy.db").display().to_string();

    exchange(&process, &ann, &bob, "before").await;
    let (done, text) = run(&["backup", &copy], &path("m.db")).await;
    assert!(done, "{text}");
    std::fs::copy(path("copy.db"), path("again.db")).unwrap();
    exchange(&process, &ann, &bob, "lost").await;
    let (done, text) = run(&["restored"], &path("m.db")).await;
    assert!(!done && text.contains("in use by another server"), "{text}");
    process.kill().await;
    assert_eq!(bob.processed.lock().unwrap().seq, 20);

    // One copy, another, and one of a copy that was made by hand.
    for store in ["copy.db", "again.db", "by hand.db"] {
        if store == "by hand.db" {
            std::fs::copy(path("again.db"), path(store)).unwrap();
            let (done, text) = run(&["restored"], &path(store)).await;
            assert!(done, "{text}");
        }
        let process = Process::start(&path(store)).await;
        exchange(&process, &ann, &bob, store).await;
        // Lower numbers are still those that were processed, and higher ones wrong.
        let seq = bob.processed.lock().unwrap().seq;
        let (client, _events) = bob.connect(&process.address).await.unwrap();
        client.ack(20).await.unwrap();
        let beyond = client.ack(seq + 1).await.unwrap_err();
        assert!(matches!(beyond, ClientError::Refused(_)), "{beyond}");
        process.signal("TERM").await;
        assert_eq!(process.ended().await, Some(0));
    }
}

/// Ann sends ten messages, and bob, who has come back, gets them all, and acknowledges.
async fn exchange(process: &Process, ann: &(UserId, SessionId), bob: &Recipient, what: &str) {
    let (sender, _events) = connect(&process.address).await.unwrap();
    sender.resume(&ann.0, &ann.1).await.unwrap();
    // He resumes by acknowledging again what he has processed, which the store may not know.
    let (client, mut events) = bob.connect(&process.address).await.unwrap();
    for number in 0..10 {
        send(&sender, &bob.session.0, &format!("{what} {number}")).await;
    }
    for number in 0..10 {
        let event = timeout(SOON, events.next_message()).await;
        let event = event.expect("dropped as seen").unwrap();
        assert_eq!(event.message.body.as_str(), format!("{what} {number}"));
        bob.processed.lock().unwrap().seq = event.seq.unwrap();
    }
    let seq = bob.processed.lock().unwrap().seq;
    client.ack(seq).await.unwrap();
}
