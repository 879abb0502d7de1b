//! What an operator does, as calls on the engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::proto::{
    AddContact, Auth, ContactList, ErrorCode, Failure, Register, SendMessage,
};
use messenger_core::{Connection, Engine, Policy, ResetPasswordError};

fn engine() -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.passwords.at_once = 2;
    policy.passwords.waiting = 100;
    Engine::builder().policy(policy).build().unwrap()
}

async fn auth(engine: &Engine, login: &str, pass: &str) -> Result<Connection, Failure> {
    let session = engine.connect();
    let auth = Auth::new(login.to_owned(), pass);
    session.call(auth).await.map(|_| session)
}

async fn join(engine: &Engine, login: &str) -> Connection {
    let register = Register::new(login.to_owned(), "secret", format!("nick of {login}"));
    engine.connect().call(register).await.unwrap();
    auth(engine, login, "secret").await.unwrap()
}

async fn send(session: &Connection, to: &str, body: &str) -> Result<(), Failure> {
    let message = SendMessage::new(to, body);
    session.call(message).await.map(drop)
}

#[tokio::test]
async fn a_deleted_user_is_gone_at_once() {
    let engine = engine();
    let (mut ann, mut bob) = (join(&engine, "ann").await, join(&engine, "bob").await);
    bob.call(AddContact::new("ann")).await.unwrap();
    send(&ann, "bob", "farewell").await.unwrap();
    send(&bob, "ann", "unread").await.unwrap();
    assert!(engine.delete_user(&"ann".into()).await.unwrap());
    assert!(!engine.delete_user(&"ann".into()).await.unwrap());

    assert!(!ann.is_authenticated(), "its connections are nobody's");
    assert!(ann.next_event().await.is_err());
    let refused = send(&bob, "ann", "too late").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UserNotFound);
    let unknown = auth(&engine, "ann", "secret").await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NeedRegister);
    assert!(bob.call(ContactList::new()).await.unwrap().is_empty());
    let kept = bob.next_event().await.unwrap();
    assert_eq!(
        kept.message.body.as_str(),
        "farewell",
        "what was sent stays"
    );

    let ann = join(&engine, "ann").await;
    send(&bob, "ann", "hello again").await.unwrap();
    let export = engine.export_user(&"ann".into()).await.unwrap().unwrap();
    let bodies = export
        .inbox
        .iter()
        .map(|(seq, message)| (*seq, message.body.as_str()));
    assert_eq!(bodies.collect::<Vec<_>>(), [(1, "hello again")]);
    drop(ann);
}

#[tokio::test]
async fn a_password_is_reset_and_whoever_had_the_old_one_is_out() {
    let engine = engine();
    let ann = join(&engine, "ann").await;
    assert!(
        engine
            .reset_password(&"ann".into(), &"new".into())
            .await
            .unwrap()
    );
    assert!(!ann.is_authenticated());
    let old = auth(&engine, "ann", "secret").await.unwrap_err();
    assert_eq!(old.code, ErrorCode::InvalidPass);
    auth(&engine, "ann", "new").await.unwrap();
    assert!(
        !engine
            .reset_password(&"eve".into(), &"new".into())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn passwords_are_reset_within_the_bounds_of_all_hashing() {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 64 * 1024;
    policy.passwords.passes = 2;
    policy.passwords.at_once = 1;
    policy.passwords.waiting = 1;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let ann = join(&engine, "ann").await;
    let (user, pass) = ("ann".into(), "new".into());
    let resets = (0..40).map(|_| engine.reset_password(&user, &pass));
    let logging_in = auth(&engine, "ann", "new");
    let (reset, late) = tokio::join!(futures_util::future::join_all(resets), logging_in);
    let (done, refused): (Vec<_>, Vec<_>) = reset.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 2, "one at once, and one that waits");
    let busy = |reset: &Result<_, _>| matches!(reset, Err(ResetPasswordError::Busy));
    assert!(refused.iter().all(busy), "{refused:?}");
    let late = late.unwrap_err();
    assert_eq!(late.code, ErrorCode::TooManyRequests, "a login counts too");
    auth(&engine, "ann", "new").await.unwrap();
    drop(ann);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let engine = engine();
    let first = join(&engine, "ann").await;
    let second = auth(&engine, "ann", "secret").await.unwrap();
    let sessions = engine.sessions(&"ann".into()).await.unwrap().unwrap();
    let [(newest, _), (oldest, _)] = sessions[..] else {
        panic!("two sessions, not {sessions:?}");
    };
    assert_ne!(newest, oldest);
    engine.end_session(&"ann".into(), &newest).await.unwrap();
    assert!(!second.is_authenticated());
    assert!(first.is_authenticated());
    assert_eq!(engine.sessions(&"eve".into()).await.unwrap(), None);
}

#[tokio::test]
async fn users_are_listed() {
    let engine = engine();
    for login in ["cid", "ann", "bob"] {
        join(&engine, login).await;
    }
    let first = engine.users(None, 2).await.unwrap();
    assert_eq!(first, ["ann".into(), "bob".into()]);
    let rest = engine.users(first.last(), 2).await.unwrap();
    assert_eq!(rest, ["cid".into()]);
    let ann = engine.user(&"ann".into()).await.unwrap().unwrap();
    assert_eq!(ann.profile.nick, "nick of ann");
    assert_eq!(engine.user(&"eve".into()).await.unwrap(), None);
}
