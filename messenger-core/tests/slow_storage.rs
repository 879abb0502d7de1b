//! A store that does not answer keeps nobody waiting for longer than the policy says.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
use messenger_core::proto::{
    Ack, Action, AddContact, Auth, ContactList, Credentials, DelContact, Failure, Import,
    ImportEntry, Inbound, Logout, Password, Register, SendMessage, SetUserInfo, UserId, UserInfo,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_core::{Connection, Engine, Policy, async_trait};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take here: much longer than the store may, because the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the client is told when it is not known whether something was done.
const UNKNOWN: &str = "not known";

fn engine() -> (Engine, FaultyStorage) {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.storage_timeout = Duration::from_millis(100);
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = Engine::builder()
        .policy(policy)
        .storage(Arc::new(storage.clone()))
        .build()
        .unwrap();
    (engine, storage)
}

async fn join(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let account = Register::new(login, "secret", login);
    connection.call(account).await.unwrap();
    log_in(&connection, login).await;
    connection
}

async fn log_in(connection: &Connection, login: &str) {
    connection.call(Auth::new(login, "secret")).await.unwrap();
}

/// It fails in time, with 22.
async fn fails<A: Action>(connection: &Connection, action: A) -> Failure {
    let name = A::NAME;
    let result = timeout(DEADLINE, connection.call(action)).await;
    let Ok(Err(failure)) = result else {
        panic!("{name} was carried out, or waits for ever");
    };
    assert_eq!(failure.code.number(), 22, "{name}: {failure:?}");
    failure
}

/// It fails as a read does: nothing was to be done.
async fn fails_to_read<A: Action>(connection: &Connection, action: A) {
    let failure = fails(connection, action).await;
    assert!(!failure.text.contains(UNKNOWN), "{failure:?}");
}

/// It fails, and may have been done.
async fn fails_to_write<A: Action>(connection: &Connection, action: A) {
    let failure = fails(connection, action).await;
    assert!(failure.text.contains(UNKNOWN), "{}: {failure:?}", A::NAME);
}

#[test]
fn a_request_is_answered_within_five_seconds() {
    let spare = Duration::from_millis(500);
    assert!(Policy::default().storage_timeout + spare <= Duration::from_secs(5));
}

#[tokio::test]
async fn whatever_a_client_asks_for_is_answered_when_the_store_hangs() {
    let (engine, storage) = engine();
    let ann = join(&engine, "ann").await;
    let stranger = engine.connect();
    // Has the store compute its keys.
    ann.call(Import::new(Vec::new())).await.unwrap();
    ann.call(SendMessage::new("ann", "note")).await.unwrap();
    storage.set_hanging(true);

    fails_to_read(&ann, UserInfo::new("bob")).await;
    fails_to_read(&ann, ContactList::new()).await;
    fails_to_write(&ann, AddContact::new("bob")).await;
    fails_to_write(&ann, DelContact::new("bob")).await;
    fails_to_write(&ann, SendMessage::new("bob", "hello")).await;
    let entry = ImportEntry::new("1").email("bob@example.org");
    fails_to_write(&ann, Import::new(vec![entry])).await;
    fails_to_write(&ann, SetUserInfo::new().user_status("busy")).await;
    fails_to_read(&ann, Ack::new(1)).await;
    fails_to_write(&ann, Logout::new()).await;
    fails_to_read(&stranger, Register::new("carol", "secret", "carol")).await;
    fails_to_read(&stranger, Auth::new("ann", "secret")).await;
    let known = Credentials::new("ann", "of whatever session");
    let resumed = Inbound::new(UserInfo::new("ann")).credentials(known);
    let reply = timeout(DEADLINE, stranger.handle(resumed)).await.unwrap();
    assert_eq!(reply.response.failure().unwrap().code.number(), 22);

    storage.set_hanging(false);
    log_in(&stranger, "ann").await;
    ann.call(UserInfo::new("ann")).await.unwrap();
}

#[tokio::test]
async fn the_calls_of_a_request_have_the_time_of_one_together() {
    let (engine, storage) = engine();
    let ann = join(&engine, "ann").await;
    // Any one is answered in time, all that a request needs are not.
    storage.set_delay(Duration::from_millis(70));
    let stranger = engine.connect();
    fails_to_write(&stranger, Register::new("carol", "secret", "carol")).await;
    fails(&stranger, Auth::new("ann", "secret")).await;
    storage.set_delay(Duration::ZERO);
    log_in(&stranger, "ann").await;
    ann.call(UserInfo::new("ann")).await.unwrap();
}

/// Takes so long to let anybody in.
struct Slow(Duration);

#[async_trait]
impl Authenticator for Slow {
    async fn identify(&self, _: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        Ok(None)
    }

    async fn verify(&self, _: &UserId, _: &Password) -> Result<Verdict, AuthenticatorError> {
        sleep(self.0).await;
        Ok(Verdict::Accepted(Identity::new("nick")))
    }
}

/// How long it takes to be refused by a store that hangs, or let in by one that takes a while; of the time that a call may
/// take, behind an authenticator that takes so much of it.
async fn log_in_behind(slow: f64, storage: impl Fn(&FaultyStorage, Duration)) -> (bool, f64) {
    let most = Policy::default().storage_timeout;
    let faulty = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = Engine::builder()
        .storage(Arc::new(faulty.clone()))
        .authenticator(Arc::new(Slow(most.mul_f64(slow))))
        .build()
        .unwrap();
    storage(&faulty, most);
    let began = Instant::now();
    let let_in = engine.connect().call(Auth::new("ann", "secret")).await;
    (let_in.is_ok(), began.elapsed().div_duration_f64(most))
}

#[tokio::test(start_paused = true)]
async fn what_a_request_waits_for_beside_the_store_is_of_the_same_time() {
    let hangs = |storage: &FaultyStorage, _: Duration| storage.set_hanging(true);
    let (is_in, time) = log_in_behind(0.5, hangs).await;
    assert!(!is_in && (0.99..1.01).contains(&time), "{time}");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_long_beside_the_store_is_let_in() {
    let takes_a_while = |storage: &FaultyStorage, most: Duration| storage.set_delay(most / 40);
    let (is_in, time) = log_in_behind(3.0, takes_a_while).await;
    assert!(is_in && time > 3.0, "{time}");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_before_a_log_in_counts_once() {
    let faulty = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let most = Policy::default().storage_timeout;
    let engine = Engine::builder()
        .storage(Arc::new(faulty.clone()))
        .authenticator(Arc::new(Slow(Duration::ZERO)))
        .build()
        .unwrap();
    let ann = engine.connect();
    log_in(&ann, "ann").await;
    ann.call(SendMessage::new("ann", "note")).await.unwrap();
    // A watermark waits to be stored.
    let delivery = poll_fn(|cx| ann.poll_event(cx)).await.unwrap();
    ann.delivered(delivery.token);
    faulty.set_delay(most.mul_f64(0.15));
    let began = Instant::now();
    log_in(&engine.connect(), "ann").await;
    let time = began.elapsed().div_duration_f64(most);
    assert!((0.4..1.0).contains(&time), "{time}");
}

#[tokio::test]
async fn an_acknowledgement_that_the_store_does_not_take_is_answered() {
    let (engine, storage) = engine();
    let mut ann = join(&engine, "ann").await;
    ann.call(SendMessage::new("ann", "note")).await.unwrap();
    timeout(DEADLINE, ann.next_message())
        .await
        .unwrap()
        .unwrap();
    storage.set_hanging(true);
    fails_to_write(&ann, Ack::new(1)).await;
    storage.set_hanging(false);
    ann.call(Ack::new(1)).await.unwrap();
}

#[tokio::test]
async fn an_inbox_that_could_not_be_read_is_read_again() {
    let (engine, storage) = engine();
    let mut ann = join(&engine, "ann").await;
    ann.call(SendMessage::new("ann", "note")).await.unwrap();
    storage.set_hanging(true);
    let next = tokio::spawn(async move { ann.next_message().await.unwrap() });
    let before = storage.calls();
    let asked = async {
        while storage.calls() == before {
            yield_now().await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap();
    storage.set_hanging(false);
    let event = timeout(DEADLINE, next).await.unwrap().unwrap();
    assert_eq!(event.message.body.as_str(), "note");
}

#[tokio::test]
async fn whoever_waits_holds_up_nobody_else() {
    let (engine, storage) = engine();
    let (ann, bob) = (join(&engine, "ann").await, join(&engine, "bob").await);
    let before = storage.calls();
    storage.set_hanging(true);
    let waits = tokio::spawn(async move { fails(&ann, SendMessage::new("bob", "hello")).await });
    let asked = async {
        while storage.calls() == before {
            yield_now().await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap();
    storage.set_hanging(false);
    let others = async {
        bob.call(SendMessage::new("bob", "note")).await.unwrap();
        join(&engine, "carol").await;
    };
    timeout(DEADLINE, others).await.unwrap();
    waits.await.unwrap();
}

#[tokio::test]
async fn a_message_has_the_time_of_one_call_however_many_its_recipient_takes() {
    let (engine, storage) = engine();
    let ann = join(&engine, "ann").await;
    storage.set_delay(Duration::from_millis(60));
    // Asked for as it is written, then as it would be kept.
    fails(&ann, SendMessage::new("ｎｏｂｏｄｙ", "x")).await;
    storage.set_delay(Duration::ZERO);
    ann.call(SendMessage::new("ann", "x")).await.unwrap();
}

/// A directory that never tells who anybody else is.
struct Hanging;

#[async_trait]
impl Authenticator for Hanging {
    async fn identify(&self, _: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        std::future::pending().await
    }

    async fn verify(&self, _: &UserId, _: &Password) -> Result<Verdict, AuthenticatorError> {
        Ok(Verdict::Accepted(Identity::new("Ann")))
    }
}

#[tokio::test]
async fn a_directory_that_hangs_keeps_nobody_waiting() {
    let mut policy = Policy::default();
    policy.storage_timeout = Duration::from_millis(100);
    let builder = Engine::builder().policy(policy);
    let engine = builder.authenticator(Arc::new(Hanging)).build().unwrap();
    let ann = engine.connect();
    log_in(&ann, "ann").await;
    fails(&ann, SendMessage::new("bob", "x")).await;
    fails(&ann, SendMessage::new("ｂｏｂ", "x")).await;
    ann.call(SendMessage::new("ann", "x")).await.unwrap();
}
