//! Delivery from a store in a file, over a network that fails, and to a user who was long away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{EvMessage, Message, Password, SendMessage, UserId};
use messenger_client::{Client, ClientError, Events, connect};
use messenger_core::Policy;
use messenger_core::clock::Timestamp;
use messenger_core::storage::{NewMessage, Storage};
use messenger_core::testing::SeededEntropy;
use messenger_server::Transport;
use messenger_sqlite::SqliteStorage;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::process::{Process, flags};
use support::proxy::{Fate, Proxy};
use support::{SOON, TestServer};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

fn pass() -> Password {
    Password::md5_of("secret")
}

/// How long the server waits for a client that takes nothing.
const PATIENCE: Duration = Duration::from_millis(500);

async fn start(folder: &std::path::Path, policy: Policy) -> (Arc<SqliteStorage>, TestServer) {
    let storage = Arc::new(SqliteStorage::open(folder.join("messenger.db")).unwrap());
    let mut transport = Transport::default();
    transport.write_stall = PATIENCE;
    let server = TestServer::start_on(storage.clone(), policy, transport).await;
    (storage, server)
}

async fn log_in(server: &TestServer, login: &str) -> (Client, Events) {
    let (client, events) = connect(server.address).await.unwrap();
    client.register(login, &pass(), login).await.unwrap();
    client.auth(login, &pass()).await.unwrap();
    (client, events)
}

async fn send(client: &Client, to: &str, body: String) -> Result<(), ClientError> {
    let message = SendMessage::new(to, body);
    client.send_message(message).await.map(drop)
}

/// The number at the beginning of a body.
fn number(event: &EvMessage) -> usize {
    let body = event.message.body.as_str();
    body.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_acknowledges_has_everything_once_over_a_network_that_fails() {
    const MESSAGES: usize = 1000;
    let seed = std::env::var("DELIVERY_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(u64::from(std::process::id()));
    println!("repeat with DELIVERY_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let (_storage, server) = start(folder.path(), Policy::default()).await;
    let random = SeededEntropy::new(seed);
    let mut vanishes = false;
    let proxy = Proxy::start(server.address, move || {
        let bytes = 1 + usize::try_from(random.next() % 60_000).unwrap();
        vanishes = !vanishes;
        match vanishes {
            true => Fate::Vanish(bytes),
            false => Fate::Cut(bytes),
        }
    })
    .await;
    let (bob, _) = connect(server.address).await.unwrap();
    bob.register("bob", &pass(), "bob").await.unwrap();
    let session = bob.auth_with_ack("bob", &pass()).await.unwrap();
    let (ann, _events) = log_in(&server, "ann").await;
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let body = format!("{number} {}", "x".repeat(number % 700));
            send(&ann, "bob", body).await.unwrap();
        }
    });
    let receiving = async {
        let (mut seq, mut next) = (0, 0);
        let mut connections = 0;
        while next < MESSAGES {
            connections += 1;
            let Ok((client, mut events)) = connect(proxy.address).await else {
                continue;
            };
            events.skip_up_to(seq);
            let resumed = client.resume_and_ack(&session.uid, &session.sid, seq);
            if resumed.await.is_err() {
                continue;
            }
            while let Ok(event) = events.next_message().await {
                assert_eq!(number(&event), next, "lost, doubled or out of order");
                next += 1;
                seq = event.seq.unwrap();
                // What was received when the connection ended is processed all the same.
                let _ = client.ack(seq).await;
                if next == MESSAGES {
                    break;
                }
            }
        }
        connections
    };
    let connections = timeout(3 * SOON, receiving).await.expect("a message lost");
    sending.await.unwrap();
    assert!(connections > 5, "the network never failed");
    assert!(!proxy.take_silent().is_empty(), "nobody vanished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_takes_nothing_is_given_up_and_loses_what_its_systems_had_taken() {
    const LONG: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let (_storage, server) = start(folder.path(), Policy::default()).await;
    // Bob's first connection stops taking after some messages of 60 KB, and is silent.
    let mut first = true;
    let proxy = Proxy::start(server.address, move || {
        let taken = if std::mem::take(&mut first) {
            500_000
        } else {
            usize::MAX
        };
        Fate::Vanish(taken)
    })
    .await;
    let (bob, mut events) = connect(proxy.address).await.unwrap();
    bob.register("bob", &pass(), "bob").await.unwrap();
    let session = bob.auth("bob", &pass()).await.unwrap();
    let (ann, _events) = log_in(&server, "ann").await;
    // Far more than the systems' buffers hold, and then for longer than the server waits.
    let long = "x".repeat(60_000);
    let mut sent = 0;
    let mut full = None;
    while full.is_none_or(|full: Instant| full.elapsed() < 2 * PATIENCE) {
        let body = if sent < LONG { &*long } else { "" };
        send(&ann, "bob", format!("{sent} {body}")).await.unwrap();
        sent += 1;
        if sent == LONG {
            full = Some(Instant::now());
        }
    }
    let mut received = 0;
    while let Ok(event) = timeout(SOON, events.next_message()).await.unwrap() {
        assert_eq!(number(&event), received);
        received += 1;
    }
    // The server ends the connection, and what its system holds of it comes to an end.
    let mut silent = proxy.take_silent();
    let mut taken = Vec::new();
    let ended = timeout(SOON, silent[0].read_to_end(&mut taken)).await;
    let _end_or_reset = ended.expect("the server gave it up");
    let (bob, mut events) = connect(proxy.address).await.unwrap();
    bob.resume(&session.uid, &session.sid).await.unwrap();
    let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    let mut next = number(&event);
    // What lies between was in the buffers of the systems at both ends of the connection.
    let lost = (next - received) * 60_000;
    assert!(next >= received && lost < 12 << 20, "{lost} bytes lost");
    while next + 1 < sent {
        let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
        assert_eq!(number(&event), next + 1, "a gap");
        next += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_flows_while_others_talk() {
    const WAITING: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let mut limits = Policy::default().limits.inbox;
    limits.messages = 200_000;
    let process = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command.args(flags(&path));
        command.args(["--max-inbox-messages", "200000"]);
        Process::spawn(command)
    };
    let first = process().await;
    for login in ["ann", "bob", "carol"] {
        let (client, _events) = connect(&first.address).await.unwrap();
        client.register(login, &pass(), login).await.unwrap();
    }
    first.kill().await;
    let storage = SqliteStorage::open(&path).unwrap();
    let append = |number: usize| {
        let message = Message::new(
            format!("id {number}"),
            "ann",
            UserId::from("bob"),
            4_000_000_000,
        )
        .nick("Ann")
        .body(format!("{number} {}", "x".repeat(100)));
        let new = NewMessage::new(message, Timestamp::from_micros(0));
        storage.append(new.limits(limits))
    };
    for numbers in (0..WAITING).collect::<Vec<_>>().chunks(1000) {
        let appended = futures_util::future::join_all(numbers.iter().map(|&number| append(number)));
        for appended in appended.await {
            appended.unwrap();
        }
    }
    drop(storage);
    let process = process().await;
    let log_in = async |login: &str| {
        let (client, events) = connect(&process.address).await.unwrap();
        client.auth(login, &pass()).await.unwrap();
        (client, events)
    };
    let (ann, _events) = log_in("ann").await;
    let (_carol, mut of_carol) = log_in("carol").await;
    let (bob, mut events) = connect(&process.address).await.unwrap();
    let before = process.resident();
    bob.auth("bob", &pass()).await.unwrap();
    let mut latencies = Vec::new();
    let mut peak = before;
    for next in 0..WAITING {
        let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
        assert_eq!(number(&event), next);
        if next % 1000 == 0 {
            let began = Instant::now();
            send(&ann, "carol", format!("{next} live")).await.unwrap();
            timeout(SOON, of_carol.next()).await.unwrap().unwrap();
            latencies.push(began.elapsed());
            peak = peak.max(process.resident());
        }
    }
    latencies.sort();
    let grown = (peak - before) >> 20;
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("{grown} MiB grown, live messages of others within {p99:?}");
    assert!(grown < 64, "{grown} MiB grown");
}
