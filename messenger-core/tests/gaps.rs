//! A notifier that has lost something says so once, and everybody looks into the store.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::notifier::{Mailbox, Notice, Notifier, NotifierError, Subscription};
use messenger_core::proto::{Auth, Register, SendMessage, UserId};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_core::{Connection, Engine, Policy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Loses everything.
#[derive(Default)]
struct Lossy {
    gaps: AtomicU64,
}

impl Notifier for Lossy {
    fn subscribe(&self, _: &UserId, mailbox: Mailbox) -> Subscription {
        Subscription::new(mailbox)
    }

    fn notify(&self, _: &UserId, _: Notice) {}

    fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), NotifierError> {
        Err(NotifierError::new("everything is lost"))
    }
}

fn engine(storage: &FaultyStorage) -> (Engine, Arc<Lossy>) {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let notifier = Arc::new(Lossy::default());
    let engine = Engine::builder()
        .policy(policy)
        .storage(Arc::new(storage.clone()))
        .notifier(notifier.clone())
        .build()
        .unwrap();
    (engine, notifier)
}

async fn join(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let account = Register::new(login, "secret", login);
    connection.call(account).await.unwrap();
    let auth = Auth::new(login, "secret");
    connection.call(auth).await.unwrap();
    connection
}

/// It has none, and there is none in the store when it looks there for the first time.
async fn has_nothing(connection: &mut Connection) {
    let next = timeout(Duration::from_secs(1), connection.next_message());
    next.await.unwrap_err();
}

#[tokio::test]
async fn after_a_gap_everybody_has_their_messages_within_seconds() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let (engine, notifier) = engine(&storage);
    let mut joined = Vec::new();
    for number in 0..20 {
        joined.push(join(&engine, &format!("user-{number}")).await);
    }
    tokio::time::pause();
    for connection in &mut joined {
        has_nothing(connection).await;
    }
    // Everybody looks once a minute anyway: not in the seconds after this.
    for number in 10..20 {
        let message = SendMessage::new(format!("user-{number}"), "hello");
        joined[0].call(message).await.unwrap();
    }
    let began = Instant::now();
    notifier.gaps.fetch_add(1, Ordering::SeqCst);
    for connection in &mut joined[10..] {
        let event = connection.next_message().await.unwrap();
        assert_eq!(event.message.body.as_str(), "hello");
    }
    assert!(began.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn when_the_store_fails_just_then_it_is_asked_again() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let (engine, notifier) = engine(&storage);
    let (ann, mut bob) = (join(&engine, "ann").await, join(&engine, "bob").await);
    tokio::time::pause();
    has_nothing(&mut bob).await;
    ann.call(SendMessage::new("bob", "hello")).await.unwrap();
    storage.set_failing(true);
    let began = Instant::now();
    notifier.gaps.fetch_add(1, Ordering::SeqCst);
    has_nothing(&mut bob).await;
    storage.set_failing(false);
    bob.next_message().await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn an_engine_tells_which_part_of_it_fails() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let (engine, _) = engine(&storage);
    let health = engine.health().await;
    assert!(health.storage.is_ok() && health.notifier.is_err());
    storage.set_failing(true);
    assert!(engine.health().await.storage.is_err());
    let health = Engine::builder().build().unwrap().health().await;
    assert!(health.storage.is_ok() && health.notifier.is_ok());
}
