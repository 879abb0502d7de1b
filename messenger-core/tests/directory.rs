//! Users whose accounts are kept elsewhere.

#![allow(clippy::panic, clippy::unwrap_used)] // a test fails by panicking

use async_trait::async_trait;
use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
use messenger_core::proto::{
    AddContact, Auth, Failure, Inbound, Password, Register, SendMessage, UserId, UserInfo,
};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::testing::FaultyStorage;
use messenger_core::{Connection, Engine, Started};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn code<T>(result: Result<T, Failure>) -> u32 {
    result.err().map_or(0, |failure| failure.code.number())
}

async fn auth(session: &Connection, login: &str, pass: &str) -> u32 {
    let request = Auth::new(login.to_owned(), pass);
    code(session.call(request).await)
}

fn message(to: &str, body: &str) -> SendMessage {
    SendMessage::new(to, body)
}

/// A company's directory: everybody's password is their name backwards.
struct Directory;

#[async_trait]
impl Authenticator for Directory {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        let known = ["ann", "bob", "eve"].contains(&login.as_str());
        Ok(known.then(|| Identity::new(login.as_str().to_uppercase())))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        let right: String = login.as_str().chars().rev().collect();
        Ok(match self.identify(login).await? {
            None => Verdict::NoSuchLogin,
            Some(_) if pass.as_str() != right => Verdict::WrongPass,
            Some(identity) => Verdict::Accepted(identity),
        })
    }
}

#[tokio::test]
async fn passes_the_suite() {
    let make = async || Arc::new(Directory);
    messenger_core::testing::authenticator::suite("ann", "nna", make).await;
}

#[tokio::test]
async fn users_of_another_directory_need_no_account_here() {
    let engine = Engine::builder()
        .authenticator(Arc::new(Directory))
        .build()
        .unwrap();
    let ann = engine.connect();
    assert_eq!(auth(&ann, "max", "xam").await, 7);
    assert_eq!(auth(&ann, "ann", "wrong").await, 2);
    assert_eq!(auth(&ann, "ann", "nna").await, 0);
    // Nobody has met the others here yet.
    ann.call(message("bob", "welcome")).await.unwrap();
    let card = ann.call(AddContact::new("eve")).await.unwrap();
    assert_eq!(card.nick, "EVE");
    let eve = ann.call(UserInfo::new("eve")).await.unwrap();
    assert_eq!(eve.nick, "EVE");
    assert_eq!(code(ann.call(message("max", "x")).await), 8);
    let mut bob = engine.connect();
    assert_eq!(auth(&bob, "bob", "bob").await, 0);
    let event = bob.next_message().await.unwrap();
    assert_eq!(event.message.body.as_str(), "welcome");
    let account = Register::new("new", "secret", "new");
    assert_eq!(code(engine.connect().call(account).await), 3);
}

#[tokio::test]
async fn somebody_unknown_costs_one_append_before_the_directory_is_asked_and_one_after() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = Engine::builder()
        .authenticator(Arc::new(Directory))
        .storage(Arc::new(storage.clone()))
        .build()
        .unwrap();
    let ann = engine.connect();
    assert_eq!(auth(&ann, "ann", "nna").await, 0);
    let appends = async |to| {
        let before = storage.appends();
        let code = code(ann.call(message(to, "hello")).await);
        (code, storage.appends() - before)
    };
    assert_eq!(appends("bob").await, (0, 2));
    assert_eq!(appends("bob").await, (0, 1), "known now");
    assert_eq!(appends("max").await, (8, 1), "known to nobody");
    // The same when the store takes its time.
    storage.hold_appends();
    storage.release(4);
    assert_eq!(appends("eve").await, (0, 2));
    assert_eq!(appends("eve").await, (0, 1));
    assert_eq!(appends("max").await, (8, 1));
}

/// A directory that takes its time to tell who somebody is, and may know them by another name later.
struct SlowDirectory {
    asked: AtomicUsize,
    answers: Semaphore,
    nick: Mutex<String>,
    /// Passwords take their time as well.
    is_slow: AtomicBool,
}

impl Default for SlowDirectory {
    fn default() -> Self {
        Self {
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(0),
            nick: Mutex::default(),
            is_slow: AtomicBool::new(false),
        }
    }
}

/// One, and a connection to an engine that asks it.
fn slow() -> (Arc<SlowDirectory>, Connection) {
    let directory = Arc::new(SlowDirectory::default());
    let engine = Engine::builder()
        .authenticator(Arc::<SlowDirectory>::clone(&directory))
        .build()
        .unwrap();
    (directory, engine.connect())
}

#[async_trait]
impl Authenticator for SlowDirectory {
    async fn identify(&self, _: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        let nick = self.nick.lock().unwrap().clone();
        Ok(Some(Identity::new(nick)))
    }

    async fn verify(&self, _: &UserId, _: &Password) -> Result<Verdict, AuthenticatorError> {
        if self.is_slow.load(Ordering::SeqCst) {
            self.answers.acquire().await.unwrap().forget();
        }
        let nick = self.nick.lock().unwrap().clone();
        Ok(Verdict::Accepted(Identity::new(nick)))
    }
}

#[tokio::test]
async fn messages_to_somebody_unknown_yet_keep_their_order() {
    let (directory, ann) = slow();
    assert_eq!(auth(&ann, "ann", "any").await, 0);
    let mut cx = Context::from_waker(Waker::noop());
    let inbound = |body| Inbound::new(message("bob", body));
    let begin = |body| match ann.try_start(inbound(body)) {
        Ok(Started::Pending(message)) => message,
        other => panic!("not under way: {other:?}"),
    };
    let mut first = begin("1");
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert_eq!(directory.asked.load(Ordering::SeqCst), 1);
    // While the first waits to be told, none passes it.
    assert!(ann.try_start(inbound("2")).is_err());
    directory.answers.add_permits(1);
    assert!(first.as_mut().poll(&mut cx).is_ready());
    assert!(matches!(ann.try_start(inbound("2")), Ok(Started::Done(_))));
}

#[tokio::test]
async fn a_log_in_whose_user_was_put_out_meanwhile_ends_with_the_others() {
    let storage = Arc::new(MemoryStorage::new());
    let directory = Arc::new(SlowDirectory::default());
    let engine = Engine::builder()
        .authenticator(Arc::<SlowDirectory>::clone(&directory))
        .storage(Arc::<MemoryStorage>::clone(&storage))
        .build()
        .unwrap();
    let (user, visitor, device) = (UserId::from("ann"), engine.connect(), engine.connect());
    engine
        .upsert_user(&user, &Identity::new("Ann"))
        .await
        .unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    // The password is still looked at when an operator resets it and ends all sessions.
    directory.is_slow.store(true, Ordering::SeqCst);
    let mut lasting = pin!(device.call(Auth::new("ann", "old")));
    let mut ephemeral = pin!(visitor.call(Auth::new("ann", "old").ephemeral()));
    assert!(lasting.as_mut().poll(&mut cx).is_pending());
    assert!(ephemeral.as_mut().poll(&mut cx).is_pending());
    engine.end_sessions(&user).await.unwrap();
    directory.answers.add_permits(2);
    assert_eq!(code(lasting.await), 22);
    let data = storage.user_data(&user).await.unwrap().unwrap();
    assert!(data.sessions.is_empty());
    // One that is kept nowhere finds it out at its first look.
    let _ = ephemeral.await;
    let look = std::future::poll_fn(|cx| visitor.poll_event(cx));
    assert!(timeout(SOON, look).await.unwrap().is_err());
}

#[tokio::test]
async fn a_new_nick_in_the_directory_is_taken_over_at_the_next_login() {
    let (directory, ann) = slow();
    for nick in ["Ann", "Anne"] {
        *directory.nick.lock().unwrap() = nick.to_owned();
        assert_eq!(auth(&ann, "ann", "any").await, 0);
        let profile = ann.call(UserInfo::new("ann")).await.unwrap();
        assert_eq!(profile.nick, nick);
    }
}
