//! What an operator does, as calls on the engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::proto::{
    Ack, AddContact, Auth, ContactList, DelContact, ErrorCode, Failure, Import, ImportEntry,
    Inbound, Register, Request, SendMessage, SetUserInfo, UserInfo,
};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::{Connection, Engine, EventsEnded, Policy, ResetPasswordError, SessionKind};
use std::sync::Arc;
use std::task::{Context, Waker};

fn engine() -> Engine {
    engine_on(Arc::new(MemoryStorage::new()))
}

fn engine_on(storage: Arc<dyn Storage>) -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.passwords.at_once = 2;
    policy.passwords.waiting = 100;
    policy.rates = None;
    let builder = Engine::builder().policy(policy);
    builder.storage(storage).build().unwrap()
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
    assert!(ann.next_message().await.is_err());
    let refused = send(&bob, "ann", "too late").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UserNotFound);
    let unknown = auth(&engine, "ann", "secret").await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NeedRegister);
    assert!(bob.call(ContactList::new()).await.unwrap().is_empty());
    let kept = bob.next_message().await.unwrap();
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

/// Deletes ann as a command beside a server does, of which no notice tells, and has another register as ann.
async fn replace_ann(engine: &Engine, storage: &Arc<MemoryStorage>) -> Connection {
    assert!(storage.delete_user(&"ann".into()).await.unwrap());
    join(engine, "ann").await
}

#[tokio::test]
async fn whoever_is_deleted_unnoticed_does_nothing_in_the_name_of_the_next() {
    let storage = Arc::new(MemoryStorage::new());
    let engine = engine_on(Arc::<MemoryStorage>::clone(&storage));
    let bob = join(&engine, "bob").await;
    let email = SetUserInfo::default().email("bob@example.org");
    bob.call(email).await.unwrap();
    let entry = ImportEntry::new("friend").email("bob@example.org");
    let requests: [Request; 9] = [
        SendMessage::new("bob", "of the gone").into(),
        SendMessage::new("bob", "of the gone").mid("m").into(),
        AddContact::new("bob").into(),
        DelContact::new("bob").into(),
        SetUserInfo::default().email("ann@example.org").into(),
        Import::new(vec![entry]).into(),
        ContactList::new().into(),
        UserInfo::new("bob").into(),
        Ack::new(1).into(),
    ];
    for request in requests {
        for kind in [SessionKind::Lasting, SessionKind::Ephemeral { after: None }] {
            let what = format!("{kind:?}, {request:?}");
            drop(join(&engine, "ann").await);
            let identity = engine.user(&"ann".into()).await.unwrap().unwrap().profile;
            let identity = messenger_core::authenticator::Identity::new(identity.nick);
            let mut gone = engine
                .connect_as("ann".into(), identity, kind)
                .await
                .unwrap();
            let next = replace_ann(&engine, &storage).await;
            next.call(AddContact::new("bob")).await.unwrap();
            send(&bob, "ann", "for the next").await.unwrap();
            let reply = gone.handle(Inbound::new(request.clone())).await;
            let code = reply.response.failure().map(|failure| failure.code);
            assert_eq!(code, Some(ErrorCode::NeedAuth), "{what}");
            let ended = gone.next_message().await;
            assert_eq!(ended.unwrap_err(), EventsEnded::SessionEnded, "{what}");
            let ann = engine.user(&"ann".into()).await.unwrap().unwrap();
            assert_eq!(ann.profile.email, "", "{what}");
            assert_eq!((ann.contacts.len(), ann.remembered.len()), (1, 0), "{what}");
            let sent = SendMessage::new("bob", "of the next").mid("m");
            let accepted = next.call(sent).await.unwrap();
            let inbox = engine.export_user(&"bob".into()).await.unwrap().unwrap();
            let (_, last) = inbox.inbox.last().unwrap();
            assert_eq!(last.id, accepted.id, "swallowed: {what}");
            let of_gone = |(_, message): &&(u64, messenger_core::proto::Message)| {
                message.body.as_str() == "of the gone"
            };
            assert_eq!(inbox.inbox.iter().filter(of_gone).count(), 0, "{what}");
            storage.delete_user(&"ann".into()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_is_deleted_unnoticed_is_given_nothing_of_the_next() {
    let storage = Arc::new(MemoryStorage::new());
    let engine = engine_on(Arc::<MemoryStorage>::clone(&storage));
    let bob = join(&engine, "bob").await;
    let mut gone = join(&engine, "ann").await;
    let mut gone_too = auth(&engine, "ann", "secret").await.unwrap();
    for connection in [&gone, &gone_too] {
        // They have looked into the inbox, and wait for what comes live.
        let polled = connection.poll_event(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    let mut next = replace_ann(&engine, &storage).await;
    // The first in an inbox that begins anew, which would be the first in the old one as well.
    send(&bob, "ann", "for the next").await.unwrap();
    let ended = gone.next_message().await;
    assert_eq!(ended.unwrap_err(), EventsEnded::SessionEnded);
    let event = next.next_message().await.unwrap();
    assert_eq!(event.message.body.as_str(), "for the next");
    send(&next, "bob", "of the next").await.unwrap();
    let ended = gone_too.next_message().await;
    assert_eq!(ended.unwrap_err(), EventsEnded::SessionEnded, "no copy");
}

/// The password was checked, and while that took its time the account became another's.
#[tokio::test]
async fn a_password_logs_in_nobody_who_came_after_its_account() {
    let storage = Arc::new(MemoryStorage::new());
    let engine = engine_on(Arc::<MemoryStorage>::clone(&storage));
    drop(join(&engine, "ann").await);
    for _ in 0..20 {
        let logging_in = tokio::spawn({
            let engine = engine.clone();
            async move { auth(&engine, "ann", "secret").await }
        });
        storage.delete_user(&"ann".into()).await.unwrap();
        let register = Register::new("ann", "another", "Ann");
        engine.connect().call(register).await.unwrap();
        if let Ok(connection) = logging_in.await.unwrap() {
            let refused = connection.call(ContactList::new()).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::NeedAuth);
        }
        storage.delete_user(&"ann".into()).await.unwrap();
        drop(join(&engine, "ann").await);
    }
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
async fn a_password_that_no_log_in_may_send_is_not_set() {
    let engine = engine();
    let ann = join(&engine, "ann").await;
    let most = engine.policy().limits.pass;
    let (longest, longer) = ("x".repeat(most), "x".repeat(most + 1));
    let user = "ann".into();
    let refused = engine.reset_password(&user, &longer.into()).await;
    assert!(
        matches!(refused, Err(ResetPasswordError::TooLong { most: told }) if told == most),
        "{refused:?}"
    );
    assert!(ann.is_authenticated(), "no session was ended");
    auth(&engine, "ann", "secret").await.unwrap();
    let pass = longest.as_str().into();
    assert!(engine.reset_password(&user, &pass).await.unwrap());
    auth(&engine, "ann", &longest).await.unwrap();
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
