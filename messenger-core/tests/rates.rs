//! What clients may do in a time, whatever the transport.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::future::join_all;
use messenger_core::policy::Rates;
use messenger_core::proto::{
    Attachment, Auth, Credentials, ErrorCode, Failure, Import, ImportEntry, Inbound, Register,
    SendMessage, SessionId,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::{FaultyStorage, ManualClock};
use messenger_core::{Connection, Engine, Policy};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    engine: Engine,
    clock: ManualClock,
    storage: FaultyStorage,
}

impl World {
    fn new(rates: Option<Rates>) -> Self {
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
        Self::on(storage, ManualClock::default(), rates)
    }

    fn on(storage: FaultyStorage, clock: ManualClock, rates: Option<Rates>) -> Self {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.passwords.at_once = 2;
        policy.passwords.waiting = 100;
        policy.rates = rates;
        let builder = Engine::builder().policy(policy);
        let builder = builder.clock(Arc::new(clock.clone()));
        let engine = builder.storage(Arc::new(storage.clone())).build().unwrap();
        Self {
            engine,
            clock,
            storage,
        }
    }

    fn from(&self, address: &str) -> Connection {
        self.engine.connect_from(address.parse::<IpAddr>().unwrap())
    }

    async fn register(&self, login: &str) {
        register(&self.engine.connect(), login).await.unwrap();
    }

    async fn join(&self, login: &str) -> (Connection, SessionId) {
        self.register(login).await;
        let session = self.engine.connect();
        let sid = auth(&session, login, "secret").await.unwrap();
        (session, sid)
    }
}

async fn register(session: &Connection, login: &str) -> Result<(), Failure> {
    let register = Register::new(login.to_owned(), "secret", format!("nick of {login}"));
    session.call(register).await
}

async fn auth(session: &Connection, login: &str, pass: &str) -> Result<SessionId, Failure> {
    let auth = Auth::new(login.to_owned(), pass);
    session.call(auth).await.map(|accepted| accepted.sid)
}

async fn send(session: &Connection, to: &str) -> Result<(), Failure> {
    let message = SendMessage::new(to, "hello");
    session.call(message).await.map(drop)
}

/// A message that goes on with a session.
async fn resume_and_send(
    session: &Connection,
    user: &str,
    sid: &SessionId,
    to: &str,
) -> Result<(), Failure> {
    let inbound = Inbound::new(SendMessage::new(to, "one more"))
        .credentials(Credentials::new(user, sid.clone()));
    let reply = session.handle(inbound).await;
    reply.response.failure().cloned().map_or(Ok(()), Err)
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> ErrorCode {
    result.unwrap_err().code
}

#[tokio::test]
async fn passwords_of_one_login_are_not_guessed() {
    let world = World::new(Some(Rates::default()));
    world.register("ann").await;
    world.register("bob").await;
    let session = world.engine.connect();
    for _ in 0..5 {
        assert_eq!(
            code(auth(&session, "ann", "wrong").await),
            ErrorCode::InvalidPass
        );
    }
    let failure = auth(&session, "ann", "secret").await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::TooManyRequests);
    assert!(failure.text.contains("this login"), "the reason is told");
    auth(&session, "bob", "secret").await.unwrap();
    world.clock.advance(MINUTE / 5);
    auth(&session, "ann", "secret").await.unwrap();
}

#[tokio::test]
async fn a_login_that_nobody_has_counts_too() {
    let world = World::new(Some(Rates::default()));
    let session = world.engine.connect();
    for _ in 0..5 {
        assert_eq!(
            code(auth(&session, "eve", "x").await),
            ErrorCode::NeedRegister
        );
    }
    assert_eq!(
        code(auth(&session, "eve", "x").await),
        ErrorCode::TooManyRequests
    );
}

#[tokio::test]
async fn many_guesses_at_once_are_as_many_as_one_after_the_other() {
    let world = World::new(Some(Rates::default()));
    world.register("ann").await;
    let session = world.engine.connect();
    let guesses = (0..50).map(|_| auth(&session, "ann", "wrong"));
    let results = join_all(guesses).await;
    let told = results.into_iter().map(code);
    let wrong = told.filter(|code| *code == ErrorCode::InvalidPass).count();
    assert_eq!(wrong, 5);
}

#[tokio::test]
async fn right_passwords_that_come_at_once_wait_for_each_other() {
    let world = World::new(Some(Rates::default()));
    world.register("bob").await;
    // More of one login, and from one address, than may fail.
    let connections: Vec<_> = (0..60).map(|_| world.from("203.0.113.7")).collect();
    let logging_in = connections.iter().map(|it| auth(it, "bob", "secret"));
    for logged_in in join_all(logging_in).await {
        logged_in.unwrap();
    }
    // Of wrong ones among them no more are looked at than may be.
    let guessing = connections.iter().map(|it| auth(it, "bob", "guess"));
    let codes: Vec<_> = join_all(guessing).await.into_iter().map(code).collect();
    let wrong = codes.iter().filter(|code| **code == ErrorCode::InvalidPass);
    assert_eq!(wrong.count(), 5, "{codes:?}");
    let refused = codes
        .iter()
        .filter(|code| **code == ErrorCode::TooManyRequests);
    assert_eq!(refused.count(), 55);
}

#[tokio::test]
async fn what_succeeds_or_cannot_be_told_is_no_failure() {
    let world = World::new(Some(Rates::default()));
    world.register("ann").await;
    let session = world.from("192.0.2.1");
    for _ in 0..50 {
        auth(&session, "ann", "secret").await.unwrap();
    }
    world.storage.set_failing(true);
    for _ in 0..50 {
        assert_eq!(
            code(auth(&session, "ann", "secret").await),
            ErrorCode::Unavailable
        );
    }
    world.storage.set_failing(false);
    auth(&session, "ann", "secret").await.unwrap();
}

#[tokio::test]
async fn logins_are_not_guessed_from_one_address() {
    let world = World::new(Some(Rates::default()));
    world.register("ann").await;
    for number in 0..20 {
        let login = format!("user{number}");
        let session = world.from("192.0.2.1");
        assert_eq!(
            code(auth(&session, &login, "x").await),
            ErrorCode::NeedRegister
        );
    }
    let failure = auth(&world.from("192.0.2.1"), "ann", "secret")
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::TooManyRequests);
    assert!(failure.text.contains("your address"), "the reason is told");
    // Nor does it count against the login.
    for _ in 0..9 {
        let refused = auth(&world.from("::ffff:192.0.2.1"), "ann", "x").await;
        assert_eq!(
            code(refused),
            ErrorCode::TooManyRequests,
            "the same address"
        );
    }
    auth(&world.from("192.0.2.2"), "ann", "secret")
        .await
        .unwrap();
    world.clock.advance(MINUTE / 20);
    auth(&world.from("192.0.2.1"), "ann", "secret")
        .await
        .unwrap();
}

#[tokio::test]
async fn registrations_of_one_network_are_limited() {
    let world = World::new(Some(Rates::default()));
    for number in 0..30 {
        // A customer has a network of 64 bits.
        let session = world.from(&format!("2001:db8::{number}"));
        register(&session, &format!("user{number}")).await.unwrap();
    }
    let session = world.from("2001:db8::ffff:1");
    assert_eq!(
        code(register(&session, "late").await),
        ErrorCode::TooManyRequests
    );
    register(&world.from("2001:db8:0:1::1"), "neighbour")
        .await
        .unwrap();
    world.clock.advance(2 * MINUTE);
    register(&session, "late").await.unwrap();
}

#[tokio::test]
async fn loopback_is_exempt_unless_told_otherwise() {
    for (exempt_loopback, refused) in [(true, 0), (false, 10)] {
        let mut rates = Rates::default();
        rates.exempt_loopback = exempt_loopback;
        let world = World::new(Some(rates));
        let mut failures = Vec::new();
        for number in 0..40 {
            let registered = register(&world.from("127.0.0.1"), &format!("user{number}")).await;
            failures.extend(registered.err());
        }
        assert_eq!(failures.len(), refused);
    }
}

#[tokio::test]
async fn messages_of_one_session_are_limited() {
    let world = World::new(Some(Rates::default()));
    let (first, _) = world.join("ann").await;
    world.register("bob").await;
    let second = world.engine.connect();
    auth(&second, "ann", "secret").await.unwrap();
    for _ in 0..5000 {
        send(&first, "bob").await.unwrap();
    }
    assert_eq!(code(send(&first, "bob").await), ErrorCode::TooManyRequests);
    send(&second, "bob").await.unwrap();
    world.clock.advance(SECOND);
    for _ in 0..100 {
        send(&first, "bob").await.unwrap();
    }
    assert_eq!(code(send(&first, "bob").await), ErrorCode::TooManyRequests);
}

#[tokio::test]
async fn bytes_of_one_session_are_limited() {
    const MIB: usize = 1024 * 1024;
    let world = World::new(Some(Rates::default()));
    let (session, sid) = world.join("ann").await;
    let (other, _) = world.join("bob").await;
    // Each of 16 MiB with its MIME type, as large as a frame may be.
    let large = async |session: &Connection| {
        let data = "A".repeat(16 * MIB - 1);
        let message = SendMessage::new("bob", "").attach(Attachment::new("x", data));
        session.call(message).await
    };
    for _ in 0..4 {
        large(&session).await.unwrap();
    }
    let refused = large(&session).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooManyRequests);
    assert!(refused.text.contains("bytes"), "the reason is told");
    large(&other).await.unwrap();
    // The session's, whatever the connection.
    let again = world.engine.connect();
    let resumed = resume_and_send(&again, "ann", &sid, "bob").await;
    assert_eq!(code(resumed), ErrorCode::TooManyRequests);
    world.clock.advance(16 * SECOND);
    large(&again).await.unwrap();
    assert_eq!(code(large(&session).await), ErrorCode::TooManyRequests);
}

#[tokio::test]
async fn a_session_has_no_new_budget_on_a_new_connection() {
    let world = World::new(Some(Rates::default()));
    let (session, sid) = world.join("ann").await;
    world.register("bob").await;
    for _ in 0..5000 {
        send(&session, "bob").await.unwrap();
    }
    drop(session);
    world.engine.run_maintenance().await.unwrap();
    let session = world.engine.connect();
    let resumed = resume_and_send(&session, "ann", &sid, "bob").await;
    assert_eq!(code(resumed), ErrorCode::TooManyRequests);
    world.clock.advance(SECOND);
    for _ in 0..100 {
        send(&session, "bob").await.unwrap();
    }
    assert_eq!(
        code(send(&session, "bob").await),
        ErrorCode::TooManyRequests
    );
}

#[tokio::test]
async fn connections_of_a_session_share_its_budget() {
    let world = World::new(Some(Rates::default()));
    let (first, sid) = world.join("ann").await;
    world.register("bob").await;
    let second = world.engine.connect();
    resume_and_send(&second, "ann", &sid, "bob").await.unwrap();
    for _ in 1..2500 {
        send(&first, "bob").await.unwrap();
        send(&second, "bob").await.unwrap();
    }
    send(&first, "bob").await.unwrap();
    for session in [&first, &second] {
        assert_eq!(code(send(session, "bob").await), ErrorCode::TooManyRequests);
    }
}

#[tokio::test]
async fn entries_imported_in_a_day_are_limited() {
    let world = World::new(Some(Rates::default()));
    let (session, _) = world.join("ann").await;
    let import = async |entries: usize| {
        let contacts = vec![ImportEntry::default(); entries];
        session.call(Import::new(contacts)).await
    };
    for _ in 0..4 {
        import(5000).await.unwrap();
    }
    assert_eq!(code(import(1).await), ErrorCode::TooManyRequests);
    import(0).await.unwrap();
    world.clock.advance(60 * 24 * MINUTE / 2);
    assert_eq!(code(import(5001).await), ErrorCode::InvalidData, "at once");
    import(5000).await.unwrap();
}

#[tokio::test]
async fn limits_may_be_lifted() {
    let world = World::new(None);
    let (session, _) = world.join("ann").await;
    for number in 0..100 {
        let stranger = world.from("192.0.2.1");
        assert_eq!(
            code(auth(&stranger, "ann", "wrong").await),
            ErrorCode::InvalidPass
        );
        register(&stranger, &format!("user{number}")).await.unwrap();
    }
    for _ in 0..6000 {
        send(&session, "user1").await.unwrap();
    }
    for _ in 0..5 {
        let contacts = vec![ImportEntry::default(); 5000];
        session.call(Import::new(contacts)).await.unwrap();
    }
}

/// Passwords must cost something here, or what they cost is not seen.
#[tokio::test]
async fn an_unknown_login_takes_as_long_as_a_wrong_password() {
    let mut policy = Policy::default();
    policy.rates = None;
    let engine = Engine::builder().policy(policy).build().unwrap();
    register(&engine.connect(), "ann").await.unwrap();
    let session = engine.connect();
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        for (login, took) in ["ann", "nobody"].into_iter().zip(&mut took) {
            let began = std::time::Instant::now();
            auth(&session, login, "wrong").await.unwrap_err();
            took.push(began.elapsed());
        }
    }
    // The quickest of each: hashing gives way to whatever else the machine does.
    let [known, unknown] = took.map(|took| took.into_iter().min().unwrap());
    let ratio = unknown.as_secs_f64() / known.as_secs_f64();
    // Without a hash it would be a thousandth.
    assert!((0.25..4.0).contains(&ratio), "{unknown:?} and {known:?}");
}

/// Two servers on one store, which counts for both.
fn two_nodes() -> (World, World) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new())).far_away();
    let clock = ManualClock::default();
    let node = || World::on(storage.clone(), clock.clone(), Some(Rates::default()));
    (node(), node())
}

#[tokio::test]
async fn failed_attempts_with_a_login_count_on_all_servers_of_a_store_that_counts() {
    let (one, two) = two_nodes();
    one.register("ann").await;
    for world in [&one, &two, &one, &two, &one] {
        let wrong = auth(&world.engine.connect(), "ann", "wrong").await;
        assert_eq!(wrong.unwrap_err().code, ErrorCode::InvalidPass);
    }
    for world in [&one, &two] {
        let refused = auth(&world.engine.connect(), "ann", "secret").await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::TooManyRequests);
    }
    one.clock.advance(MINUTE / 5);
    // None of these has failed.
    for world in [&one, &two, &one, &two] {
        auth(&world.engine.connect(), "ann", "secret")
            .await
            .unwrap();
    }
    one.storage.set_failing(true);
    let failed = auth(&two.engine.connect(), "ann", "secret").await;
    assert_eq!(failed.unwrap_err().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn imports_count_on_all_servers_of_a_store_that_counts() {
    let (one, two) = two_nodes();
    let (ann, sid) = one.join("ann").await;
    let entries = vec![ImportEntry::new("1"); 5000];
    for _ in 0..4 {
        ann.call(Import::new(entries.clone())).await.unwrap();
    }
    let again = two.engine.connect();
    let import = Inbound::new(Import::new(vec![ImportEntry::new("1")]));
    let import = import.credentials(Credentials::new("ann", sid));
    let reply = again.handle(import).await.response;
    let refused = reply.failure().unwrap();
    assert_eq!(refused.code, ErrorCode::TooManyRequests);
}
