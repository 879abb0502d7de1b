//! Whatever is asked of an engine, it keeps its promises: what is accepted is given to every session
//! of its recipient, in order and without a gap, and nothing else is.

use arbitrary::{Arbitrary, Unstructured};
use async_trait::async_trait;
use messenger_core::authenticator::{
    Authenticator, AuthenticatorError, Identity, RegisterError, Verdict,
};
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{
    Ack, AddContact, Attachment, Auth, ContactList, Credentials, DelContact, ErrorCode, Import,
    ImportEntry, Inbound, MessageAccepted, MessageId, Password, Register, Request, Response,
    SendMessage, SessionId, SetUserInfo, UserId, UserInfo,
};
use messenger_core::testing::{ManualClock, SeededEntropy};
use messenger_core::{Connection, Engine, Event, Policy};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const CONNECTIONS: usize = 4;

/// How long a `mid` is remembered, in minutes.
const REMEMBERED: u64 = 7 * 24 * 60;

/// The most operations of one input.
const OPERATIONS: usize = 100;

#[derive(Arbitrary, Debug)]
enum Operation {
    Connect {
        connection: u8,
        address: Option<[u8; 4]>,
    },
    Register {
        connection: u8,
        user: u8,
        pass: u8,
    },
    Auth {
        connection: u8,
        user: u8,
        pass: u8,
        ack: bool,
    },
    Resume {
        connection: u8,
        session: u8,
        user: u8,
    },
    Send {
        connection: u8,
        to: u8,
        body: String,
        mid: Option<u8>,
        attach: bool,
    },
    Receive {
        connection: u8,
    },
    Ack {
        connection: u8,
        seq: u8,
    },
    AddContact {
        connection: u8,
        user: u8,
    },
    DelContact {
        connection: u8,
        user: u8,
    },
    ContactList {
        connection: u8,
    },
    Import {
        connection: u8,
        emails: Vec<u8>,
        phone: String,
    },
    SetUserInfo {
        connection: u8,
        email: Option<u8>,
        phone: Option<String>,
    },
    UserInfo {
        connection: u8,
        user: u8,
    },
    Wait {
        minutes: u16,
    },
    KeepHouse,
    Delete {
        user: u8,
    },
    EndSessions {
        user: u8,
    },
    Export {
        user: u8,
    },
}

/// Carries out the operations that the input tells.
pub fn engine(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut input = Unstructured::new(data);
        let mut world = World::new();
        for _ in 0..OPERATIONS {
            if input.is_empty() {
                break;
            }
            let Ok(operation) = Operation::arbitrary(&mut input) else {
                break;
            };
            world.carry_out(operation).await;
        }
    });
}

/// Knows who has registered. (Hashing passwords would take all the time, and threads.)
#[derive(Default)]
pub(crate) struct Accounts(Mutex<BTreeMap<UserId, (Password, Identity)>>);

impl Accounts {
    fn find(&self, login: &UserId) -> Option<(Password, Identity)> {
        self.0.lock().unwrap().get(login).cloned()
    }
}

#[async_trait]
impl Authenticator for Accounts {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        Ok(self.find(login).map(|(_, identity)| identity))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        Ok(match self.find(login) {
            Some((own, identity)) if own == *pass => Verdict::Accepted(identity),
            Some(_) => Verdict::WrongPass,
            None => Verdict::NoSuchLogin,
        })
    }

    async fn register(&self, register: &Register) -> Result<(), RegisterError> {
        let identity = Identity::new(register.nick.clone());
        let login = UserId::from(&*register.login);
        match self.0.lock().unwrap().entry(login) {
            Entry::Vacant(entry) => {
                entry.insert((register.pass.clone(), identity));
                Ok(())
            }
            Entry::Occupied(_) => Err(RegisterError::LoginTaken),
        }
    }
}

struct World {
    engine: Engine,
    clock: ManualClock,
    connections: Vec<Link>,
    sessions: Vec<(String, SessionId)>,
    /// What was accepted, by recipient; the first has number 1.
    accepted: BTreeMap<String, Vec<String>>,
    /// What was accepted under which `mid` of whom to whom.
    mids: BTreeMap<(UserId, String, u8), Accepted>,
    minute: u64,
}

struct Accepted {
    id: MessageId,
    content: (String, bool),
    minute: u64,
}

struct Link {
    session: Connection,
    /// The sequence number of what it was given last, since it became its user's.
    last: Option<u64>,
}

fn name(user: u8) -> String {
    format!("user{}", user % 3)
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::default();
        let mut policy = Policy::default();
        policy.limits.sessions = 2;
        policy.limits.contacts = 2;
        policy.limits.inbox = InboxLimits::new(5, 10_000);
        let engine = Engine::builder()
            .policy(policy)
            .authenticator(Arc::new(Accounts::default()))
            .clock(Arc::new(clock.clone()))
            .entropy(Arc::new(SeededEntropy::new(7)))
            .manual_maintenance()
            .build()
            .unwrap();
        let connections = (0..CONNECTIONS).map(|_| Link {
            session: engine.connect(),
            last: None,
        });
        Self {
            connections: connections.collect(),
            engine,
            clock,
            sessions: Vec::new(),
            accepted: BTreeMap::new(),
            mids: BTreeMap::new(),
            minute: 0,
        }
    }

    fn connection(&mut self, number: u8) -> &mut Link {
        &mut self.connections[usize::from(number) % CONNECTIONS]
    }

    async fn ask(&mut self, connection: u8, request: impl Into<Request>) -> Response {
        self.ask_as(connection, Credentials::default(), request)
            .await
    }

    async fn ask_as(
        &mut self,
        connection: u8,
        credentials: Credentials,
        request: impl Into<Request>,
    ) -> Response {
        let inbound = Inbound::new(request).credentials(credentials);
        let connection = self.connection(connection);
        let before = connection.session.user();
        let reply = connection.session.handle(inbound).await;
        if connection.session.user() != before {
            connection.last = None;
        }
        if let Some(failure) = reply.response.failure() {
            assert!(!matches!(failure.code, ErrorCode::Other(_)));
            assert_ne!(
                failure.code,
                ErrorCode::Unavailable,
                "the store never fails"
            );
        }
        reply.response
    }

    async fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::Connect {
                connection,
                address,
            } => {
                let session = match address {
                    Some(address) => self.engine.connect_from(IpAddr::from(address)),
                    None => self.engine.connect(),
                };
                *self.connection(connection) = Link {
                    session,
                    last: None,
                };
            }
            Operation::Register {
                connection,
                user,
                pass,
            } => {
                let register =
                    Register::new(name(user), format!("pass{pass}").as_str(), name(user));
                self.ask(connection, register).await;
            }
            Operation::Auth {
                connection,
                user,
                pass,
                ack,
            } => {
                let mut auth = Auth::new(name(user), format!("pass{pass}").as_str());
                auth.ack = ack;
                if let Response::Auth(Ok(accepted)) = self.ask(connection, auth).await {
                    self.connection(connection).last = None;
                    self.sessions.push((name(user), accepted.sid));
                }
            }
            Operation::Resume {
                connection,
                session,
                user,
            } => {
                let known = self.sessions.get(usize::from(session));
                let (uid, sid) = known.cloned().unwrap_or((name(user), "none".into()));
                let credentials = Credentials::new(uid.as_str(), sid);
                self.ask_as(connection, credentials, ContactList::new())
                    .await;
            }
            Operation::Send {
                connection,
                to,
                body,
                mid,
                attach,
            } => {
                self.send(connection, &name(to), body, mid, attach).await;
            }
            Operation::Receive { connection } => self.receive(connection),
            Operation::Ack { connection, seq } => {
                let seq = u64::from(seq);
                let user = self.connection(connection).session.user();
                let response = self.ask(connection, Ack::new(seq)).await;
                if let (Some(user), None) = (user, response.failure()) {
                    let there = self.accepted.get(user.as_str()).map_or(0, Vec::len);
                    assert!(seq <= there as u64);
                }
            }
            Operation::AddContact { connection, user } => {
                self.ask(connection, AddContact::new(name(user))).await;
            }
            Operation::DelContact { connection, user } => {
                self.ask(connection, DelContact::new(name(user))).await;
            }
            Operation::ContactList { connection } => {
                let list = self.ask(connection, ContactList::new()).await;
                if let Response::ContactList(Ok(contacts)) = list {
                    assert!(contacts.len() <= 2);
                }
            }
            Operation::Import {
                connection,
                emails,
                phone,
            } => {
                // More are worked on by a thread.
                let entries = emails.iter().take(8).map(|email| {
                    ImportEntry::new(email.to_string())
                        .email(format!("{email}@example.org"))
                        .phone(phone.as_str())
                });
                let contacts: Vec<_> = entries.collect();
                self.ask(connection, Import::new(contacts)).await;
            }
            Operation::SetUserInfo {
                connection,
                email,
                phone,
            } => {
                let mut change = SetUserInfo::new();
                change.email = email.map(|email| format!("{email}@example.org").into());
                change.phone = phone.map(Into::into);
                self.ask(connection, change).await;
            }
            Operation::UserInfo { connection, user } => {
                self.ask(connection, UserInfo::new(name(user))).await;
            }
            Operation::Wait { minutes } => {
                self.minute += u64::from(minutes);
                self.clock.advance(Duration::from_secs(60) * minutes.into());
            }
            Operation::KeepHouse => self.engine.run_maintenance().await.unwrap(),
            Operation::Delete { user } => {
                let user = name(user);
                self.engine
                    .delete_user(&user.as_str().into())
                    .await
                    .unwrap();
                self.mids
                    .retain(|(from, to, _), _| from.as_str() != user && *to != user);
                self.accepted.remove(&user);
            }
            Operation::EndSessions { user } => self.end_sessions(&name(user)).await,
            Operation::Export { user } => self.export(&name(user)).await,
        }
    }

    async fn send(
        &mut self,
        connection: u8,
        to: &str,
        body: String,
        mid: Option<u8>,
        attach: bool,
    ) {
        let mid = mid.map(|mid| mid % 4);
        let mut message = SendMessage::new(to, body.as_str());
        message.mid = mid.map(|mid| mid.to_string().into());
        if attach {
            message.attach = Attachment::new("x", "AAAA");
        }
        let response = self.ask(connection, message).await;
        let Response::SendMessage(Ok(MessageAccepted { id, .. })) = response else {
            return;
        };
        if let Some(mid) = mid {
            let sender = self.connection(connection).session.user();
            let key = (sender.expect("somebody's"), to.to_owned(), mid);
            let content = (body.clone(), attach);
            // It may be remembered for longer: nothing is forgotten before the clock is believed.
            if let Some(first) = self.mids.get(&key)
                && (self.minute - first.minute <= REMEMBERED || id == first.id)
            {
                assert_eq!(id, first.id, "nothing is stored twice");
                assert_eq!(
                    content, first.content,
                    "nothing is taken for something else"
                );
                return;
            }
            let minute = self.minute;
            self.mids.insert(
                key,
                Accepted {
                    id,
                    content,
                    minute,
                },
            );
        }
        self.accepted.entry(to.to_owned()).or_default().push(body);
    }

    /// Takes all that there is for a connection.
    fn receive(&mut self, connection: u8) {
        let accepted = self.accepted.clone();
        let connection = self.connection(connection);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(delivery)) = connection.session.poll_event(&mut cx) {
            let Event::Message(event) = delivery.event else {
                panic!("an event that is no message");
            };
            let Some(seq) = event.seq else {
                continue;
            };
            let user = connection.session.user().expect("somebody's");
            let of_user = accepted.get(user.as_str()).expect("something was accepted");
            let at = usize::try_from(seq).unwrap() - 1;
            assert_eq!(event.message.body.as_str(), of_user[at]);
            if let Some(last) = connection.last {
                // What is full or too old is dropped.
                assert!(seq > last, "{seq} behind {last}");
            }
            connection.last = Some(seq);
            if let Some(token) = delivery.token {
                connection.session.delivered([token]);
            }
        }
    }

    async fn end_sessions(&mut self, user: &str) {
        let user = user.into();
        let sessions = self.engine.sessions(&user).await.unwrap();
        for (key, _) in sessions.unwrap_or_default() {
            self.engine.end_session(&user, &key).await.unwrap();
        }
        let left = self.engine.sessions(&user).await.unwrap();
        assert!(left.unwrap_or_default().is_empty());
    }

    async fn export(&mut self, user: &str) {
        let Some(export) = self.engine.export_user(&user.into()).await.unwrap() else {
            return;
        };
        let accepted = self.accepted.get(user).map_or(&[][..], Vec::as_slice);
        assert_eq!(export.data.newest, accepted.len() as u64);
        assert!(export.data.sessions.len() <= 2);
        for (seq, message) in &export.inbox {
            let at = usize::try_from(*seq).unwrap() - 1;
            assert_eq!(message.body.as_str(), accepted[at]);
        }
    }
}
