//! The engine's rules, as an embedder without a socket meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use bytes::BytesMut;
use messenger_core::proto::{
    Ack, Action, AddContact, Auth, Braces, ContactList, Credentials, ErrorCode, EvMessage, Failure,
    Import, ImportEntry, Inbound, Logout, Outbound, Register, Request, Response, SendMessage,
    SessionId, SetUserInfo,
};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::testing::{FaultyStorage, ManualClock};
use messenger_core::{
    Connection, Delivery, Driver, DriverLimits, Engine, Event, EventsEnded, Policy,
};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A policy whose passwords cost next to nothing.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.passwords.at_once = 2;
    policy.passwords.waiting = 100;
    policy
}

/// An engine and the clock it goes by.
fn with_clock() -> (Engine, ManualClock) {
    let clock = ManualClock::default();
    let engine = Engine::builder()
        .policy(policy())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    (engine, clock)
}

/// An engine and its store, which fails when told to.
fn with_faulty_storage() -> (Engine, FaultyStorage) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = Engine::builder()
        .policy(policy())
        .storage(Arc::new(storage.clone()))
        .build()
        .unwrap();
    (engine, storage)
}

fn account(login: &str) -> Register {
    Register::new(login.to_owned(), "secret", format!("nick of {login}"))
}

async fn register(engine: &Engine, login: &str) {
    engine.connect().call(account(login)).await.unwrap();
}

async fn auth(session: &Connection, login: &str, pass: &str) -> Result<SessionId, Failure> {
    let request = Auth::new(login.to_owned(), pass);
    session.call(request).await.map(|accepted| accepted.sid)
}

/// Registers and logs in.
async fn join(engine: &Engine, login: &str) -> (Connection, SessionId) {
    register(engine, login).await;
    let session = engine.connect();
    let sid = auth(&session, login, "secret").await.unwrap();
    (session, sid)
}

async fn resume(engine: &Engine, user: &str, sid: &SessionId) -> Result<Connection, Failure> {
    resume_by_ack(engine, user, sid, 0).await
}

async fn resume_by_ack(
    engine: &Engine,
    user: &str,
    sid: &SessionId,
    seq: u64,
) -> Result<Connection, Failure> {
    let session = engine.connect();
    let inbound =
        Inbound::new(Request::Ack(Ack::new(seq))).credentials(Credentials::new(user, sid.clone()));
    match session.handle(inbound).await.response {
        Response::Ack(result) => result.map(|()| session),
        other => panic!("{other:?}"),
    }
}

fn message(to: &str, body: &str) -> SendMessage {
    SendMessage::new(to, body)
}

async fn code<A: Action>(session: &Connection, action: A) -> u32 {
    match session.call(action).await {
        Ok(_) => 0,
        Err(failure) => failure.code.number(),
    }
}

fn message_of(delivery: Delivery) -> EvMessage {
    let Event::Message(message) = delivery.event else {
        panic!("an event that is no message");
    };
    message
}

/// What there is to be taken without waiting.
fn take_all(session: &Connection) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut bodies = Vec::new();
    while let Poll::Ready(Ok(delivery)) = session.poll_event(&mut cx) {
        if let Some(token) = delivery.token {
            session.delivered([token]);
        }
        bodies.push(message_of(delivery).message.body.as_str().to_owned());
    }
    bodies
}

#[tokio::test]
async fn a_store_in_memory_keeps_no_more_than_it_may_and_leaves_room_for_others() {
    const KIB: usize = 1024;
    let storage = Arc::new(MemoryStorage::with_limit(100 * KIB as u64));
    let engine = Engine::builder().policy(policy()).storage(storage);
    let engine = engine.build().unwrap();
    let (ann, _) = join(&engine, "ann").await;
    let (mut bob, _) = join(&engine, "bob").await;
    register(&engine, "eve").await;
    // Each counts as 10 KiB. How many were taken before one was refused.
    let fill = async |to: &str| {
        for count in 0.. {
            let message = SendMessage::new(to, "x".repeat(9 * KIB));
            if let Err(refused) = ann.call(message).await {
                assert_eq!(refused.code, ErrorCode::Unavailable);
                return count;
            }
        }
        unreachable!()
    };
    assert_eq!(fill("bob").await, 5, "half of all");
    assert_eq!(fill("bob").await, 0);
    assert_eq!(
        fill("eve").await,
        3,
        "half of the rest, and what it fits into"
    );
    // What was delivered, or whose recipient is gone, gives way.
    for _ in 0..5 {
        bob.next_message().await.unwrap();
    }
    engine.run_maintenance().await.unwrap();
    engine.delete_user(&"eve".into()).await.unwrap();
    assert_eq!(fill("bob").await, 4, "one is still under way");
}

#[tokio::test]
async fn a_session_expires_30_days_after_its_last_use() {
    let (engine, clock) = with_clock();
    let (session, sid) = join(&engine, "ann").await;
    drop(session);
    clock.advance(29 * DAY);
    drop(resume(&engine, "ann", &sid).await.unwrap());
    clock.advance(29 * DAY);
    let session = resume(&engine, "ann", &sid).await.unwrap();
    // A connection in use keeps its session alive, though it asks for nothing.
    for _ in 0..40 {
        clock.advance(DAY);
        engine.run_maintenance().await.unwrap();
    }
    assert_eq!(code(&session, ContactList::new()).await, 0);
    drop(session);
    clock.advance(31 * DAY);
    let expired = resume(&engine, "ann", &sid).await;
    assert_eq!(expired.unwrap_err().code.number(), 6);
}

#[tokio::test]
async fn the_least_recently_used_session_ends_though_all_were_used_within_a_millisecond() {
    let (engine, clock) = with_clock();
    let (first, _) = join(&engine, "ann").await;
    let log_in = async || {
        clock.advance(Duration::from_micros(100));
        let session = engine.connect();
        auth(&session, "ann", "secret").await.unwrap();
        session
    };
    let second = log_in().await;
    let mut others = Vec::new();
    for _ in 2..policy().limits.sessions {
        others.push(log_in().await);
    }
    clock.advance(Duration::from_micros(1));
    assert_eq!(code(&first, message("ann", "still here")).await, 0);
    others.push(log_in().await);
    assert!(first.is_authenticated());
    assert!(!second.is_authenticated());
}

#[tokio::test]
async fn a_mid_is_remembered_for_7_days() {
    let (engine, clock) = with_clock();
    let (ann, _) = join(&engine, "ann").await;
    register(&engine, "bob").await;
    let send = || {
        let mut once = message("bob", "once");
        once.mid = Some("m".into());
        ann.call(once)
    };
    let first = send().await.unwrap();
    clock.advance(6 * DAY);
    engine.run_maintenance().await.unwrap();
    assert_eq!(send().await.unwrap(), first);
    clock.advance(2 * DAY);
    engine.run_maintenance().await.unwrap();
    assert_ne!(send().await.unwrap(), first);
}

#[tokio::test]
async fn a_message_is_kept_for_30_days() {
    let (engine, clock) = with_clock();
    let (ann, _) = join(&engine, "ann").await;
    register(&engine, "bob").await;
    ann.call(message("bob", "old")).await.unwrap();
    clock.advance(20 * DAY);
    ann.call(message("bob", "young")).await.unwrap();
    clock.advance(11 * DAY);
    engine.run_maintenance().await.unwrap();
    let bob = engine.connect();
    auth(&bob, "bob", "secret").await.unwrap();
    assert_eq!(take_all(&bob), ["young"]);
}

#[tokio::test]
async fn what_may_have_been_stored_is_told_and_sent_again_with_its_mid() {
    let (engine, storage) = with_faulty_storage();
    let (ann, _) = join(&engine, "ann").await;
    let (bob, _) = join(&engine, "bob").await;
    let mut once = message("bob", "once");
    once.mid = Some("m".into());
    storage.set_losing_answers(true);
    let failure = ann.call(once.clone()).await.unwrap_err();
    assert_eq!(failure.code.number(), 22);
    assert!(failure.text.contains("mid"), "{failure:?}");
    assert_eq!(take_all(&bob), ["once"], "it was stored, and comes");
    storage.set_losing_answers(false);
    ann.call(once).await.unwrap();
    engine.run_maintenance().await.unwrap();
    assert!(take_all(&bob).is_empty(), "once");
}

#[tokio::test]
async fn an_outage_of_the_store_is_told_and_passes() {
    let (engine, storage) = with_faulty_storage();
    let (ann, _) = join(&engine, "ann").await;
    let (bob, _) = join(&engine, "bob").await;
    assert!(take_all(&bob).is_empty());
    storage.set_failing(true);
    assert_eq!(code(&ann, message("bob", "lost")).await, 22);
    assert_eq!(code(&ann, ContactList::new()).await, 22);
    assert_eq!(code(&engine.connect(), account("eve")).await, 22);
    assert_eq!(
        auth(&engine.connect(), "ann", "secret")
            .await
            .unwrap_err()
            .code
            .number(),
        22
    );
    storage.set_failing(false);
    assert_eq!(code(&ann, message("bob", "stored")).await, 0);
    assert_eq!(take_all(&bob), ["stored"]);
}

#[tokio::test]
async fn what_could_not_be_read_is_read_when_the_store_is_back() {
    let (engine, storage) = with_faulty_storage();
    let (ann, _) = join(&engine, "ann").await;
    register(&engine, "bob").await;
    ann.call(message("bob", "waiting")).await.unwrap();
    let mut bob = engine.connect();
    auth(&bob, "bob", "secret").await.unwrap();
    storage.set_failing(true);
    assert!(take_all(&bob).is_empty());
    storage.set_failing(false);
    // Nobody sends anything more: the engine looks again by itself.
    let event = tokio::time::timeout(Duration::from_secs(20), bob.next_message()).await;
    assert_eq!(event.unwrap().unwrap().message.body.as_str(), "waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_would_wait_too_long_are_put_off() {
    let mut policy = policy();
    policy.passwords.memory_kib = 64 * 1024;
    policy.passwords.passes = 2;
    policy.passwords.at_once = 1;
    policy.passwords.waiting = 1;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let tries = (0..8).map(|number| {
        let session = engine.connect();
        tokio::spawn(async move { code(&session, account(&format!("user{number}"))).await })
    });
    let mut codes = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        codes.push(one.await.unwrap());
    }
    assert!(codes.contains(&0) && codes.contains(&20), "{codes:?}");
    assert!(codes.iter().all(|code| [0, 20].contains(code)), "{codes:?}");
    // The place in the queue is given back.
    let code = code(&engine.connect(), account("later")).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn whoever_waits_for_events_is_told_that_the_session_has_ended() {
    let mut policy = policy();
    policy.limits.sessions = 1;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let (mut bot, _) = join(&engine, "bot").await;
    let waiting = tokio::spawn(async move { bot.next_message().await });
    tokio::task::yield_now().await;
    auth(&engine.connect(), "bot", "secret").await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert_eq!(told.unwrap().unwrap(), Err(EventsEnded::SessionEnded));
}

#[tokio::test]
async fn a_list_over_its_bytes_goes_without_the_pictures_that_do_not_fit() {
    let mut policy = policy();
    policy.limits.list_bytes = 3000;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let (ann, _) = join(&engine, "ann").await;
    for login in ["b1", "b2", "b3", "b4"] {
        let (user, _) = join(&engine, login).await;
        // The picture takes six times as much when it is written.
        let change = SetUserInfo::new().picture("{".repeat(200)).email("all@x");
        user.call(change).await.unwrap();
        ann.call(AddContact::new(login)).await.unwrap();
    }
    let contacts = ann.call(ContactList::new()).await.unwrap();
    let pictures: Vec<_> = contacts
        .iter()
        .map(|contact| contact.card.picture.len())
        .collect();
    assert_eq!(pictures, [200, 200, 0, 0]);
    let entry = ImportEntry::default().email("all@x");
    let contacts = vec![entry];
    assert_eq!(ann.call(Import::new(contacts)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_place_given_late_counts_for_nobody_else() {
    let storage = Arc::new(MemoryStorage::new());
    let engine = Engine::builder()
        .policy(policy())
        .storage(Arc::<MemoryStorage>::clone(&storage))
        .build()
        .unwrap();
    let (ann, _) = join(&engine, "ann").await;
    let (bob, _) = join(&engine, "bob").await;
    for body in ["1", "2"] {
        ann.call(message("bob", body)).await.unwrap();
        bob.call(message("ann", body)).await.unwrap();
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut token = None;
    while let Poll::Ready(Ok(delivery)) = bob.poll_event(&mut cx) {
        token = delivery.token.or(token);
    }
    // The same connection becomes Ann's before what Bob was sent is known to have been given.
    let sid = auth(&bob, "ann", "secret").await.unwrap();
    bob.delivered([token.unwrap()]);
    engine.run_maintenance().await.unwrap();
    drop(bob);
    let ann_again = resume(&engine, "ann", &sid).await.unwrap();
    assert_eq!(take_all(&ann_again), ["1", "2"]);
}

#[tokio::test]
async fn what_does_not_fit_into_the_mailbox_is_read_from_the_store() {
    let mut policy = policy();
    policy.limits.mailbox_bytes = 2000;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let (ann, _) = join(&engine, "ann").await;
    let (bob, _) = join(&engine, "bob").await;
    assert!(take_all(&bob).is_empty());
    let bodies: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for body in &bodies {
        ann.call(message("bob", body)).await.unwrap();
    }
    assert_eq!(take_all(&bob), bodies);
    // Copies are not stored: a connection that takes none is told that it missed some.
    let mut other = engine.connect();
    auth(&other, "ann", "secret").await.unwrap();
    assert!(take_all(&other).is_empty());
    for body in &bodies {
        ann.call(message("bob", body)).await.unwrap();
    }
    assert!(other.next_message().await.is_err());
}

#[tokio::test]
async fn asking_for_the_next_event_says_that_the_last_was_processed() {
    let engine = Engine::builder().policy(policy()).build().unwrap();
    let (ann, _) = join(&engine, "ann").await;
    let (mut bob, sid) = join(&engine, "bob").await;
    for body in ["1", "2", "3"] {
        ann.call(message("bob", body)).await.unwrap();
    }
    for body in ["1", "2"] {
        let event = bob.next_message().await.unwrap();
        assert_eq!(event.message.body.as_str(), body);
    }
    drop(bob);
    let bob = resume(&engine, "bob", &sid).await.unwrap();
    assert_eq!(
        take_all(&bob),
        ["2", "3"],
        "the second was never said to be processed"
    );
}

#[tokio::test]
async fn shutting_down_stores_what_was_given_and_may_be_repeated() {
    let storage = Arc::new(MemoryStorage::new());
    let build = || {
        Engine::builder()
            .policy(policy())
            .storage(Arc::<MemoryStorage>::clone(&storage))
            .build()
            .unwrap()
    };
    let engine = build();
    let (ann, _) = join(&engine, "ann").await;
    let (bob, sid) = join(&engine, "bob").await;
    ann.call(message("bob", "1")).await.unwrap();
    assert_eq!(take_all(&bob), ["1"]);
    engine.shut_down().await.unwrap();
    engine.shut_down().await.unwrap();
    let next = build();
    let bob = resume(&next, "bob", &sid).await.unwrap();
    assert!(take_all(&bob).is_empty());
    assert_eq!(storage.newest(&"bob".into()).await.unwrap(), 1);
}

#[tokio::test]
async fn what_an_acknowledgement_covers_is_not_given_again() {
    let storage = Arc::new(MemoryStorage::new());
    let build = || {
        let storage = Arc::<MemoryStorage>::clone(&storage);
        let builder = Engine::builder().policy(policy()).storage(storage);
        builder.build().unwrap()
    };
    let engine = build();
    let (ann, _) = join(&engine, "ann").await;
    // What a device in a drawer has not been given is kept.
    let (_drawer, _) = join(&engine, "bob").await;
    let bob = engine.connect();
    let auth = Auth::new("bob", "secret").ack();
    let sid = bob.call(auth).await.unwrap().sid;
    for body in ["1", "2", "3"] {
        ann.call(message("bob", body)).await.unwrap();
    }
    assert_eq!(take_all(&bob), ["1", "2", "3"]);
    bob.call(Ack::new(1)).await.unwrap();
    // An engine that knows only what is stored, as after a crash.
    let next = build();
    let bob = resume(&next, "bob", &sid).await.unwrap();
    assert_eq!(take_all(&bob), ["2", "3"]);
    let bob = resume_by_ack(&next, "bob", &sid, 2).await.unwrap();
    assert_eq!(
        take_all(&bob),
        ["3"],
        "it came with the request that resumed"
    );
}

/// What is over the limit of an inbox, and some device was given, is dropped from whoever has most there; a device
/// that lags sees by the numbers that something is missing, and where.
#[tokio::test]
async fn a_flood_of_one_sender_pushes_out_nothing_of_another() {
    let mut policy = policy();
    policy.limits.inbox.messages = 20;
    policy.rates = None;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let (phone, _) = join(&engine, "bob").await;
    let tablet = engine.connect();
    let sid = auth(&tablet, "bob", "secret").await.unwrap();
    drop(tablet);
    let (friend, _) = join(&engine, "friend").await;
    let (stranger, _) = join(&engine, "stranger").await;
    friend.call(message("bob", "of a friend")).await.unwrap();
    for number in 2..=100 {
        let body = number.to_string();
        stranger.call(message("bob", &body)).await.unwrap();
        take_all(&phone);
        engine.run_maintenance().await.unwrap();
    }
    let tablet = resume(&engine, "bob", &sid).await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut given = Vec::new();
    while let Poll::Ready(Ok(delivery)) = tablet.poll_event(&mut cx) {
        let event = message_of(delivery);
        let body = event.message.body.as_str().to_owned();
        given.push((event.seq.unwrap(), body));
    }
    let expected = (82..=100).map(|seq| (seq, seq.to_string()));
    let friends = (1, "of a friend".to_owned());
    assert_eq!(given, Vec::from_iter([friends].into_iter().chain(expected)));
    // It goes on from there as ever.
    stranger.call(message("bob", "live")).await.unwrap();
    assert_eq!(take_all(&tablet), ["live"]);
    tablet.call(Ack::new(101)).await.unwrap();
}

#[tokio::test]
async fn nothing_secret_shows_in_debug() {
    let engine = Engine::builder().policy(policy()).build().unwrap();
    let (ann, sid) = join(&engine, "ann").await;
    // Long enough to be encoded once for all.
    let request = Inbound::new(message("ann", &"the body".repeat(1000)))
        .credentials(Credentials::new("ann", sid.clone()));
    let shown = format!("{request:?}{ann:?}{engine:?}");
    let reply = ann.handle(request).await;
    let storage = MemoryStorage::new();
    let mut cx = Context::from_waker(Waker::noop());
    let event = ann.poll_event(&mut cx);
    let Poll::Ready(Ok(delivery)) = &event else {
        panic!("no event");
    };
    let mut encoded = BytesMut::new();
    message_of(delivery.clone()).encode(&mut encoded, Braces::Escaped);
    let auth = Auth::new("ann", "secret");
    let again = format!(
        "{auth:?}{reply:?}{event:?}{storage:?}{:?}",
        ann.handle(Inbound::new(auth.clone())).await
    );
    for secret in ["the body", "secret", sid.as_str()] {
        assert!(
            !shown.contains(secret) && !again.contains(secret),
            "{secret}: {shown}{again}"
        );
    }
}

#[test]
fn an_engine_outside_a_runtime_says_so() {
    assert!(Engine::builder().build().is_err());
    assert!(Engine::builder().manual_maintenance().build().is_ok());
}

#[tokio::test]
async fn what_a_session_was_given_before_it_was_logged_out_does_not_come_again() {
    let engine = Engine::builder().policy(policy()).build().unwrap();
    let (ann, _) = join(&engine, "ann").await;
    for _ in 0..2 {
        ann.call(message("ann", "note")).await.unwrap();
        assert_eq!(take_all(&ann), ["note"]);
        ann.call(Logout::new()).await.unwrap();
        ann.call(Auth::new("ann", "secret")).await.unwrap();
        assert_eq!(take_all(&ann), [""; 0]);
    }
    // Nor when an operator ends it.
    ann.call(message("ann", "note")).await.unwrap();
    assert_eq!(take_all(&ann), ["note"]);
    engine.end_sessions(&"ann".into()).await.unwrap();
    let ann = engine.connect();
    ann.call(Auth::new("ann", "secret")).await.unwrap();
    assert_eq!(take_all(&ann), [""; 0]);
}

#[tokio::test]
async fn a_large_message_behind_small_ones_comes_in_its_turn() {
    let mut policy = policy();
    policy.limits.body = 1_000_000;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let (bob, sid) = join(&engine, "bob").await;
    drop(bob);
    let (ann, _) = join(&engine, "ann").await;
    let sizes = [1, 100_000, 1, 300_000, 1, 20_000, 400_000, 300_000, 1];
    for size in sizes {
        let body = "x".repeat(size);
        ann.call(message("bob", &body)).await.unwrap();
    }
    let bob = resume(&engine, "bob", &sid).await.unwrap();
    let mut driver = Driver::new(bob, DriverLimits::default());
    driver.next_frame(0).await.unwrap();
    for size in sizes {
        let frame = driver.next_frame(0).await.unwrap();
        let Outbound::Event(messenger_core::proto::Event::Message(event)) = frame.outbound else {
            panic!("no message");
        };
        assert_eq!(event.message.body.as_str().len(), size);
    }
}
