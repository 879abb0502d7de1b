//! When the store is told what was delivered: soon, and at once when it keeps a lot meanwhile. And how often it is purged.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use messenger_core::proto::{Attachment, Auth, Register, SendMessage};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::testing::{FaultyStorage, ManualClock};
use messenger_core::{Connection, Engine, Policy};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

struct Fixture {
    storage: Arc<dyn Storage>,
    ann: Connection,
    bob: Connection,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Arc::new(MemoryStorage::new())).await
    }

    async fn with(storage: Arc<dyn Storage>) -> Self {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.passwords.at_once = 1;
        policy.passwords.waiting = 9;
        policy.rates = None;
        let engine = Engine::builder()
            .policy(policy)
            .storage(Arc::clone(&storage))
            .build()
            .unwrap();
        let (ann, bob) = (join(&engine, "ann").await, join(&engine, "bob").await);
        Self { storage, ann, bob }
    }

    /// Has Bob given a message with so large an attachment.
    async fn give(&self, size: usize) {
        let message =
            SendMessage::new("bob", "hello").attach(Attachment::new("", "A".repeat(size)));
        self.ann.call(message).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(delivery)) = self.bob.poll_event(&mut cx) {
            self.bob.delivered(delivery.token);
        }
    }

    /// What the store knows once everybody has done what there is to be done now.
    async fn stored(&self) -> u64 {
        for _ in 0..100 {
            yield_now().await;
        }
        let data = self.storage.user_data(&"bob".into()).await.unwrap();
        data.unwrap().sessions[0].1.delivered_up_to
    }
}

async fn join(engine: &Engine, login: &str) -> Connection {
    let session = engine.connect();
    let account = Register::new(login, "secret", login);
    session.call(account).await.unwrap();
    let auth = Auth::new(login, "secret");
    session.call(auth).await.unwrap();
    session
}

#[tokio::test(start_paused = true)]
async fn a_few_small_messages_are_gathered_for_a_moment() {
    let fixture = Fixture::new().await;
    fixture.give(0).await;
    fixture.give(0).await;
    assert_eq!(fixture.stored().await, 0);
    sleep(Duration::from_millis(21)).await;
    assert_eq!(fixture.stored().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_mebibyte_is_not_kept_for_longer_than_it_must_be() {
    let fixture = Fixture::new().await;
    let began = Instant::now();
    for number in 1..4 {
        fixture.give(1024 * 1024).await;
        assert_eq!(fixture.stored().await, number);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn neither_are_many_small_messages() {
    let fixture = Fixture::new().await;
    let began = Instant::now();
    for _ in 0..256 {
        fixture.give(0).await;
    }
    assert_eq!(fixture.stored().await, 256);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_wants_few_calls_has_to_wait_for_no_more_than_a_thousand_messages() {
    let inner = Arc::new(MemoryStorage::new());
    let fixture = Fixture::with(Arc::new(FaultyStorage::new(inner))).await;
    let began = Instant::now();
    for _ in 0..999 {
        fixture.give(0).await;
    }
    assert_eq!(fixture.stored().await, 0);
    fixture.give(0).await;
    assert_eq!(fixture.stored().await, 1000);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_far_away_is_told_less_often() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new())).far_away();
    let fixture = Fixture::with(Arc::new(storage)).await;
    fixture.give(0).await;
    sleep(Duration::from_millis(150)).await;
    assert_eq!(fixture.stored().await, 0);
    sleep(Duration::from_millis(51)).await;
    assert_eq!(fixture.stored().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_purged_as_often_as_it_says() {
    let clock = ManualClock::default();
    let near = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let far = FaultyStorage::new(Arc::new(MemoryStorage::new())).far_away();
    let engine = |storage: &FaultyStorage| {
        let builder = Engine::builder().storage(Arc::new(storage.clone()));
        builder.clock(Arc::new(clock.clone())).build().unwrap()
    };
    let _engines = (engine(&near), engine(&far));
    // Nothing is dropped before the clock is believed.
    clock.advance(Duration::from_secs(2 * 60 * 60));
    sleep(Duration::from_secs(59 * 60 + 30)).await;
    assert_eq!((near.purges(), far.purges()), (60, 1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((near.purges(), far.purges()), (61, 2));
}

#[tokio::test(start_paused = true)]
async fn keys_are_looked_at_again_every_half_hour() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = Engine::builder().storage(Arc::new(storage.clone()));
    let _engine = engine.build().unwrap();
    sleep(Duration::from_secs(29 * 60)).await;
    assert_eq!(storage.rekeys(), 1);
    sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(storage.rekeys(), 2);
    sleep(Duration::from_secs(30 * 60)).await;
    assert_eq!(storage.rekeys(), 3);
}
