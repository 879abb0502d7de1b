//! How often the store is asked: it may be far away.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use futures_util::FutureExt;
use messenger_core::proto::{
    Ack, Auth, Credentials, Inbound, Register, Request, SendMessage, SessionId,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::{FaultyStorage, ManualClock};
use messenger_core::{Connection, Engine, EventsEnded, Policy};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

struct Fixture {
    engine: Engine,
    storage: FaultyStorage,
}

impl Fixture {
    /// An engine that does nothing by itself.
    fn new() -> Self {
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
        Self::on(storage)
    }

    fn on(storage: FaultyStorage) -> Self {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.passwords.waiting = 100;
        policy.rates = None;
        let clock = ManualClock::default();
        let engine = Engine::builder()
            .policy(policy)
            .storage(Arc::new(storage.clone()))
            .clock(Arc::new(clock.clone()))
            .manual_maintenance()
            .build()
            .unwrap();
        // Nothing is dropped before the clock is believed.
        clock.advance(Duration::from_secs(2 * 60 * 60));
        Self { engine, storage }
    }

    async fn join(&self, login: &str) -> (Connection, SessionId) {
        let connection = self.engine.connect();
        connection
            .call(Register::new(login, "secret", login))
            .await
            .unwrap();
        let accepted = connection.call(Auth::new(login, "secret")).await.unwrap();
        (connection, accepted.sid)
    }

    /// How many calls it takes.
    async fn calls<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.storage.calls();
        let done = work.await;
        (done, self.storage.calls() - before)
    }
}

/// Comes back to a session. (What is acknowledged is nothing new.)
async fn resume(connection: &Connection, user: &str, sid: &SessionId) -> u32 {
    let request = Inbound::new(Request::Ack(Ack::new(0)));
    let request = request.credentials(Credentials::new(user, sid.clone()));
    let reply = connection.handle(request).await;
    reply
        .response
        .failure()
        .map_or(0, |failure| failure.code.number())
}

/// Takes what there is, and has it count as delivered.
fn take(connection: &Connection) -> usize {
    let mut taken = 0;
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(delivery)) = connection.poll_event(&mut cx) {
        connection.delivered(delivery.token);
        taken += 1;
    }
    taken
}

#[tokio::test]
async fn to_come_back_takes_one_call_and_the_inbox_another() {
    let fixture = Fixture::new();
    let (ann, sid) = fixture.join("ann").await;
    ann.call(SendMessage::new("ann", "note")).await.unwrap();
    drop(ann);
    let connection = fixture.engine.connect();
    let (code, calls) = fixture.calls(resume(&connection, "ann", &sid)).await;
    assert_eq!((code, calls), (0, 1));
    let (taken, calls) = fixture.calls(async { take(&connection) }).await;
    assert_eq!(taken, 1);
    // The page behind the last one is empty.
    assert_eq!(calls, 2);
}

#[tokio::test]
async fn whoever_comes_back_has_only_what_they_were_given_stored_first() {
    let fixture = Fixture::new();
    let (ann, sid) = fixture.join("ann").await;
    let mut others = Vec::new();
    for number in 0..8 {
        let login = format!("other-{number}");
        let (other, sid) = fixture.join(&login).await;
        for user in [login.as_str(), "ann"] {
            other.call(SendMessage::new(user, "hello")).await.unwrap();
        }
        assert_eq!(take(&other), 1);
        others.push((login, sid));
    }
    assert_eq!(take(&ann), 8);

    fixture.storage.set_hanging(true);
    let again = fixture.engine.connect();
    let mut hangs = Box::pin(resume(&again, "ann", &sid));
    assert!(hangs.as_mut().now_or_never().is_none());
    fixture.storage.set_hanging(false);

    let mut came_back = 0;
    for (login, sid) in &others {
        let connection = fixture.engine.connect();
        let resumed = fixture.calls(resume(&connection, login, sid));
        // One of a few users may be in the same part as Ann, and wait for her.
        if let Some((code, calls)) = resumed.now_or_never() {
            assert_eq!(
                (code, calls),
                (0, 2),
                "what they were given, and the session"
            );
            assert_eq!(take(&connection), 0, "given before");
            came_back += 1;
        }
    }
    assert!(came_back >= 6, "{came_back} of 8 did not wait");

    drop(hangs);
    let again = fixture.engine.connect();
    let (code, calls) = fixture.calls(resume(&again, "ann", &sid)).await;
    assert_eq!((code, calls), (0, 2));
    assert_eq!(take(&again), 0, "what could not be stored was stored now");
}

#[tokio::test]
async fn all_connections_are_looked_for_in_one_call() {
    let fixture = Fixture::new();
    let mut joined = Vec::new();
    for number in 0..20 {
        joined.push(fixture.join(&format!("user-{number}")).await.0);
    }
    for connection in &joined {
        assert_eq!(take(connection), 0);
    }
    fixture.engine.run_maintenance().await.unwrap();
    let maintained = fixture.engine.run_maintenance();
    let (done, calls) = fixture.calls(maintained).await;
    done.unwrap();
    assert_eq!(calls, 3, "the purge, the keys, and the look");
    let (taken, calls) = fixture
        .calls(async { joined.iter().map(take).sum::<usize>() })
        .await;
    assert_eq!((taken, calls), (0, 0), "nobody reads for nothing");
}

#[tokio::test]
async fn what_a_look_finds_is_given_and_an_end_is_told() {
    let fixture = Fixture::new();
    let (ann, _) = fixture.join("ann").await;
    let (mut bob, _) = fixture.join("bob").await;
    assert_eq!(take(&ann) + take(&bob), 0);
    // By another engine, so that no notice tells of it.
    let beside = Fixture::on(fixture.storage.clone());
    let (carol, _) = beside.join("carol").await;
    carol.call(SendMessage::new("ann", "hello")).await.unwrap();
    beside.engine.end_sessions(&"bob".into()).await.unwrap();
    assert_eq!(take(&ann), 0);

    fixture.storage.set_failing(true);
    assert!(fixture.engine.run_maintenance().await.is_err());
    fixture.storage.set_failing(false);
    fixture.engine.run_maintenance().await.unwrap();
    assert_eq!(take(&ann), 1);
    let ended = bob.next_message().await.unwrap_err();
    assert_eq!(ended, EventsEnded::SessionEnded);
}
