//! Messages for users who are offline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use messenger_core::authenticator::Identity;
use messenger_core::moderator::{Moderator, ModeratorError};
use messenger_core::notifier::LocalNotifier;
use messenger_core::offline::{self, Receiver};
use messenger_core::proto::{Auth, EvMessage, Message, Register, SendMessage};
use messenger_core::storage::{MemoryStorage, SessionRecord};
use messenger_core::testing::FaultyStorage;
use messenger_core::{Connection, Engine, Policy, SessionKind, async_trait};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const MIB: usize = 1024 * 1024;

/// How long anything may take: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy
}

/// An engine that tells of messages, of so many bytes at once.
fn engine(bytes: usize) -> (Engine, Receiver) {
    let (sender, receiver) = offline::channel(bytes);
    let engine = Engine::builder().policy(policy()).offline(sender);
    (engine.build().unwrap(), receiver)
}

async fn log_in(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let auth = Auth::new(login.to_owned(), "secret");
    connection.call(auth).await.unwrap();
    connection
}

async fn register(engine: &Engine, login: &str) {
    let account = Register::new(login.to_owned(), "secret", login.to_owned());
    engine.connect().call(account).await.unwrap();
}

/// Ann, who is connected, and an account of bob's.
async fn ann_and_bob(engine: &Engine) -> Connection {
    register(engine, "ann").await;
    register(engine, "bob").await;
    log_in(engine, "ann").await
}

async fn send(from: &Connection, to: &str, body: &str) {
    let message = SendMessage::new(to, body);
    from.call(message).await.unwrap();
}

/// What is told without waiting.
fn told(receiver: &mut Receiver) -> Option<EvMessage> {
    let next = pin!(receiver.next());
    match next.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(told) => Some(told.expect("the engine lives")),
        Poll::Pending => None,
    }
}

fn told_body(receiver: &mut Receiver) -> Option<String> {
    told(receiver).map(|event| event.message.body.as_str().to_owned())
}

#[tokio::test]
async fn a_message_for_somebody_who_is_offline_is_told_once() {
    let (engine, mut receiver) = engine(MIB);
    let ann = ann_and_bob(&engine).await;
    let message = || SendMessage::new("bob", "hello").mid("m");
    let accepted = ann.call(message()).await.unwrap();
    let event = told(&mut receiver).unwrap();
    assert_eq!(event.seq, Some(1));
    assert_eq!(event.message.id, accepted.id);
    assert_eq!(event.message.from.as_str(), "ann");
    assert_eq!(event.message.to.as_str(), "bob");
    assert_eq!(event.message.body.as_str(), "hello");

    assert_eq!(ann.call(message()).await.unwrap(), accepted);
    assert!(told(&mut receiver).is_none(), "it was told");
}

#[tokio::test]
async fn a_message_for_somebody_who_is_connected_is_not_told() {
    let (engine, mut receiver) = engine(MIB);
    let ann = ann_and_bob(&engine).await;
    send(&ann, "ann", "a note").await;
    let phone = log_in(&engine, "bob").await;
    let session = SessionKind::Ephemeral { after: None };
    let page = engine.connect_as("bob".into(), Identity::new("bob"), session);
    let page = page.await.unwrap();
    send(&ann, "bob", "to both").await;
    drop(phone);
    send(&ann, "bob", "to the page").await;
    assert!(told(&mut receiver).is_none());
    drop(page);
    send(&ann, "bob", "to nobody").await;
    assert_eq!(told_body(&mut receiver).as_deref(), Some("to nobody"));
    assert!(told(&mut receiver).is_none());
}

#[tokio::test]
async fn who_is_connected_as_somebody_else_by_now_is_offline() {
    let (engine, mut receiver) = engine(MIB);
    let ann = ann_and_bob(&engine).await;
    let shared = log_in(&engine, "bob").await;
    shared.call(Auth::new("ann", "secret")).await.unwrap();
    send(&ann, "bob", "are you there?").await;
    assert!(told(&mut receiver).is_some());
}

#[tokio::test]
async fn a_user_of_before_keeps_no_later_one_of_the_login_online() {
    let (engine, mut receiver) = engine(MIB);
    let ann = ann_and_bob(&engine).await;
    let _before = log_in(&engine, "bob").await;
    engine.delete_user(&"bob".into()).await.unwrap();
    register(&engine, "bob").await;
    send(&ann, "bob", "welcome").await;
    assert_eq!(told_body(&mut receiver).as_deref(), Some("welcome"));
}

#[tokio::test]
async fn what_is_not_stored_is_not_told() {
    struct Nobody;
    #[async_trait]
    impl Moderator for Nobody {
        async fn review(&self, _: &Message) -> Result<(), ModeratorError> {
            Err(ModeratorError::Refused("no".into()))
        }
    }
    let (sender, mut receiver) = offline::channel(MIB);
    let engine = Engine::builder()
        .policy(policy())
        .moderator(Arc::new(Nobody))
        .offline(sender);
    let engine = engine.build().unwrap();
    let ann = ann_and_bob(&engine).await;
    ann.call(SendMessage::new("bob", "hello"))
        .await
        .unwrap_err();
    assert!(told(&mut receiver).is_none());
}

#[tokio::test]
async fn what_the_store_has_not_said_to_have_is_not_told() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let (sender, mut receiver) = offline::channel(MIB);
    let engine = Engine::builder()
        .policy(policy())
        .storage(Arc::new(storage.clone()))
        .offline(sender);
    let engine = engine.build().unwrap();
    let ann = ann_and_bob(&engine).await;
    let message = || SendMessage::new("bob", "hello").mid("m");
    storage.set_losing_answers(true);
    ann.call(message()).await.unwrap_err();
    storage.set_losing_answers(false);
    // It was stored that time.
    ann.call(message()).await.unwrap();
    assert!(told(&mut receiver).is_none());
    let mut bob = log_in(&engine, "bob").await;
    let event = timeout(DEADLINE, bob.next_message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(event.seq, Some(1));
}

#[tokio::test]
async fn a_node_tells_of_who_has_no_connection_to_it_and_the_store_of_who_was_given_the_message() {
    let storage = Arc::new(MemoryStorage::new());
    let notifier = Arc::new(LocalNotifier::new());
    let node = || {
        let (sender, receiver) = offline::channel(MIB);
        let engine = Engine::builder()
            .policy(policy())
            .storage(storage.clone())
            .notifier(notifier.clone())
            .offline(sender);
        (engine.build().unwrap(), receiver)
    };
    let (here, mut told_here) = node();
    let (there, mut told_there) = node();
    let ann = ann_and_bob(&here).await;
    let mut bob = log_in(&there, "bob").await;
    send(&ann, "bob", "hello").await;
    assert_eq!(told_body(&mut told_here).as_deref(), Some("hello"));
    assert!(told(&mut told_there).is_none());

    timeout(DEADLINE, bob.next_message())
        .await
        .unwrap()
        .unwrap();
    // To ask for the next says that it was given.
    let next = tokio::spawn(async move { bob.next_message().await });
    let was_given = async {
        let given = |sessions: Vec<(_, SessionRecord)>| {
            sessions
                .iter()
                .any(|(_, session)| session.delivered_up_to == 1)
        };
        while !given(here.sessions(&"bob".into()).await.unwrap().unwrap()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, was_given).await.unwrap();
    next.abort();
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted_and_waits_in_the_inbox() {
    let dropped = Dropped::default();
    let (engine, mut receiver) = with_local_recorder(&dropped, || engine(10_000));
    let ann = ann_and_bob(&engine).await;
    let body = "x".repeat(4_000);
    for _ in 0..5 {
        send(&ann, "bob", &body).await;
    }
    assert_eq!(dropped.count(), 3, "two of them fit");
    assert_eq!(told(&mut receiver).unwrap().seq, Some(1));
    assert_eq!(told(&mut receiver).unwrap().seq, Some(2));
    assert!(told(&mut receiver).is_none());
    // There is room again.
    send(&ann, "bob", &body).await;
    assert_eq!(told(&mut receiver).unwrap().seq, Some(6));
    assert_eq!(dropped.count(), 3);

    let mut bob = log_in(&engine, "bob").await;
    for seq in 1..=6 {
        let event = timeout(DEADLINE, bob.next_message())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(event.seq, Some(seq));
    }
}

#[tokio::test]
async fn a_single_message_fits_however_large() {
    let dropped = Dropped::default();
    let (engine, mut receiver) = with_local_recorder(&dropped, || engine(100));
    let ann = ann_and_bob(&engine).await;
    let body = "x".repeat(4_000);
    for seq in 1..=3 {
        send(&ann, "bob", &body).await;
        assert_eq!(told(&mut receiver).unwrap().seq, Some(seq));
    }
    assert_eq!(dropped.count(), 0);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_and_loses_nothing() {
    let dropped = Dropped::default();
    let (engine, receiver) = with_local_recorder(&dropped, || engine(100));
    let ann = ann_and_bob(&engine).await;
    send(&ann, "bob", "told").await;
    drop(receiver);
    send(&ann, "bob", "not told").await;
    assert_eq!(dropped.count(), 0);
}

#[tokio::test]
async fn the_receiver_ends_with_the_engine() {
    let (engine, mut receiver) = engine(MIB);
    let ann = ann_and_bob(&engine).await;
    send(&ann, "bob", "the last").await;
    drop((engine, ann));
    let last = timeout(DEADLINE, receiver.next()).await.unwrap();
    assert_eq!(last.unwrap().message.body.as_str(), "the last");
    let end = timeout(DEADLINE, receiver.next()).await.unwrap();
    assert!(end.is_none());
}

/// A recorder of one counter: of what was dropped.
#[derive(Default)]
struct Dropped(Arc<AtomicU64>);

impl Dropped {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Recorder for Dropped {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let is_ours = key.name() == "messenger_limits_total"
            && key
                .labels()
                .any(|label| label.value() == "offline_messages");
        match is_ours {
            true => Counter::from_arc(Arc::clone(&self.0)),
            false => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
