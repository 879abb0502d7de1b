//! Users of an embedder's own, who come by other ways than a password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
use messenger_core::policy::{Rate, Rates};
use messenger_core::proto::{
    Ack, Auth, Credentials, Failure, Import, ImportEntry, Inbound, Logout, Password, Response,
    SendMessage, SessionId, SetUserInfo, UserId, UserInfo,
};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::testing::FaultyStorage;
use messenger_core::{
    BuildError, Connection, Engine, Event, EventsEnded, Policy, SessionKind, async_trait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const VISIT: SessionKind = SessionKind::Ephemeral { after: None };

/// Knows ann and bob, whose password is "secret".
#[derive(Default)]
struct Directory {
    is_down: AtomicBool,
}

#[async_trait]
impl Authenticator for Directory {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(AuthenticatorError::Unavailable("it is down".into()));
        }
        Ok(["ann", "bob"]
            .contains(&login.as_str())
            .then(|| ident(login.as_str())))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        Ok(match self.identify(login).await? {
            None => Verdict::NoSuchLogin,
            Some(_) if pass.as_str() != "secret" => Verdict::WrongPass,
            Some(identity) => Verdict::Accepted(identity),
        })
    }
}

fn ident(user: &str) -> Identity {
    let mut identity = Identity::new(user.to_uppercase());
    identity.email = Some(format!("{user}@example.org").into());
    identity
}

fn with_storage(policy: Policy, storage: Arc<dyn Storage>) -> Engine {
    Engine::builder()
        .authenticator(Arc::new(Directory::default()))
        .storage(storage)
        .policy(policy)
        .build()
        .unwrap()
}

fn with_policy(policy: Policy) -> Engine {
    with_storage(policy, Arc::new(MemoryStorage::new()))
}

fn engine() -> Engine {
    with_policy(Policy::default())
}

async fn connect_as(engine: &Engine, user: &str, session: SessionKind) -> Connection {
    let connected = engine.connect_as(user.into(), ident(user), session);
    connected.await.unwrap()
}

/// A device that logs in with its password.
async fn phone(engine: &Engine, user: &str) -> (Connection, SessionId) {
    let connection = engine.connect();
    let auth = Auth::new(user.to_owned(), "secret");
    let accepted = connection.call(auth).await.unwrap();
    (connection, accepted.sid)
}

/// A device that comes back to its session.
async fn resume(engine: &Engine, user: &str, sid: &SessionId) -> Result<Connection, Failure> {
    let connection = engine.connect();
    let credentials = Credentials::new(user, sid.clone());
    let inbound = Inbound::new(UserInfo::new(user)).credentials(credentials);
    match connection.handle(inbound).await.response {
        Response::UserInfo(result) => result.map(|_| connection),
        other => panic!("{other:?}"),
    }
}

async fn send(from: &Connection, to: &str, body: &str) -> Result<(), Failure> {
    let message = SendMessage::new(to, body);
    from.call(message).await.map(drop)
}

/// What there is to be taken without waiting, all of it delivered.
fn take_all(connection: &Connection) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut bodies = Vec::new();
    while let Poll::Ready(Ok(delivery)) = connection.poll_event(&mut cx) {
        connection.delivered(delivery.token);
        let Event::Message(event) = delivery.event else {
            panic!("an event that is no message");
        };
        bodies.push(event.message.body.as_str().to_owned());
    }
    bodies
}

fn has_ended(connection: &Connection) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = connection.poll_event(&mut cx);
    matches!(polled, Poll::Ready(Err(EventsEnded::SessionEnded)))
}

async fn sessions(engine: &Engine, user: &str) -> usize {
    engine.sessions(&user.into()).await.unwrap().unwrap().len()
}

#[tokio::test]
async fn a_user_nobody_has_heard_of_writes_and_is_answered() {
    let engine = engine();
    let mut stranger = connect_as(&engine, "stranger", VISIT).await;
    assert_eq!(stranger.user(), Some("stranger".into()));
    let mut ann = connect_as(&engine, "ann", SessionKind::Lasting).await;
    send(&stranger, "ann", "hello").await.unwrap();
    let event = ann.next_message().await.unwrap();
    assert_eq!(event.message.from.as_str(), "stranger");
    assert_eq!(event.message.nick, "STRANGER");
    send(&ann, "stranger", "hi").await.unwrap();
    let event = stranger.next_message().await.unwrap();
    assert_eq!((event.seq, event.message.body.as_str()), (Some(1), "hi"));
}

#[tokio::test]
async fn an_id_that_is_no_login_is_refused() {
    let engine = engine();
    for (user, code) in [("", 4), ("x".repeat(1000).as_str(), 3)] {
        let connected = engine.connect_as(user.into(), Identity::new("X"), VISIT);
        assert_eq!(connected.await.unwrap_err().code.number(), code, "{user}");
    }
    assert!(engine.users(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn visits_end_nobodys_phone_and_lasting_sessions_count() {
    let engine = engine();
    let (phone, _) = phone(&engine, "ann").await;
    let mut visits = Vec::new();
    for _ in 0..20 {
        visits.push(connect_as(&engine, "ann", VISIT).await);
    }
    assert!(phone.is_authenticated());
    assert_eq!(sessions(&engine, "ann").await, 1);
    drop(visits);
    for _ in 0..8 {
        connect_as(&engine, "ann", SessionKind::Lasting).await;
    }
    assert!(has_ended(&phone));
    assert_eq!(sessions(&engine, "ann").await, 8);
}

#[tokio::test]
async fn what_a_visit_was_given_still_waits_for_the_phone() {
    let engine = engine();
    let (first, sid) = phone(&engine, "ann").await;
    drop(first);
    let visit = connect_as(&engine, "ann", VISIT).await;
    let bob = connect_as(&engine, "bob", VISIT).await;
    for body in ["one", "two", "three"] {
        send(&bob, "ann", body).await.unwrap();
    }
    assert_eq!(take_all(&visit), ["one", "two", "three"]);
    visit.call(Ack::new(3)).await.unwrap();
    engine.run_maintenance().await.unwrap();
    let resumed = resume(&engine, "ann", &sid).await.unwrap();
    assert_eq!(take_all(&resumed), ["one", "two", "three"]);
    let (another, _) = phone(&engine, "ann").await;
    assert_eq!(take_all(&another), [""; 0], "the phone was given them");
}

#[tokio::test]
async fn a_visit_begins_where_it_is_told() {
    let engine = engine();
    let bob = connect_as(&engine, "bob", VISIT).await;
    drop(connect_as(&engine, "ann", VISIT).await);
    for body in ["one", "two", "three"] {
        send(&bob, "ann", body).await.unwrap();
    }
    let after = async |after| {
        let visit = connect_as(&engine, "ann", SessionKind::Ephemeral { after }).await;
        take_all(&visit)
    };
    assert_eq!(after(Some(0)).await, ["one", "two", "three"]);
    assert_eq!(after(Some(0)).await.len(), 3, "nothing is remembered");
    assert_eq!(after(Some(2)).await, ["three"]);
    assert_eq!(after(None).await, [""; 0]);
    let session = SessionKind::Ephemeral { after: Some(99) };
    let visit = connect_as(&engine, "ann", session).await;
    send(&bob, "ann", "four").await.unwrap();
    assert_eq!(take_all(&visit), ["four"], "99 is taken for 3");
}

#[tokio::test]
async fn an_inbox_that_only_visits_were_given_is_full() {
    let mut policy = Policy::default();
    policy.limits.inbox.messages = 2;
    let engine = with_policy(policy);
    let visit = connect_as(&engine, "ann", VISIT).await;
    let bob = connect_as(&engine, "bob", VISIT).await;
    for _ in 0..2 {
        send(&bob, "ann", "x").await.unwrap();
        assert_eq!(take_all(&visit), ["x"]);
        engine.run_maintenance().await.unwrap();
    }
    assert_eq!(
        send(&bob, "ann", "x").await.unwrap_err().code.number(),
        21,
        "it waits for a phone"
    );
}

#[tokio::test]
async fn a_visit_lives_through_looks_into_the_store() {
    let engine = engine();
    let visit = connect_as(&engine, "ann", VISIT).await;
    let bob = connect_as(&engine, "bob", VISIT).await;
    for _ in 0..3 {
        // Told twice without having looked, it is looked for.
        engine.run_maintenance().await.unwrap();
        engine.run_maintenance().await.unwrap();
        send(&bob, "ann", "x").await.unwrap();
        assert_eq!(take_all(&visit), ["x"]);
    }
    engine.shut_down().await.unwrap();
    assert_eq!(sessions(&engine, "ann").await, 0);
}

#[tokio::test]
async fn end_sessions_ends_them_all_and_nobody_elses() {
    let engine = engine();
    let (phone_of_ann, _) = phone(&engine, "ann").await;
    let visits = [
        connect_as(&engine, "ann", VISIT).await,
        connect_as(&engine, "ann", VISIT).await,
    ];
    let bob = connect_as(&engine, "bob", VISIT).await;
    engine.end_sessions(&"ann".into()).await.unwrap();
    assert!(has_ended(&phone_of_ann));
    assert!(visits.iter().all(has_ended));
    assert_eq!(sessions(&engine, "ann").await, 0);
    assert!(bob.is_authenticated());
    engine.end_sessions(&"nobody".into()).await.unwrap();
}

#[tokio::test]
async fn a_session_is_resumed_without_the_authenticator_until_it_is_ended() {
    let directory = Arc::new(Directory::default());
    let engine = Engine::builder()
        .authenticator(Arc::clone(&directory) as Arc<dyn Authenticator>)
        .build()
        .unwrap();
    let (_, sid) = phone(&engine, "ann").await;
    directory.is_down.store(true, Ordering::Relaxed);
    let resumed = resume(&engine, "ann", &sid).await.unwrap();
    engine.end_sessions(&"ann".into()).await.unwrap();
    assert!(has_ended(&resumed));
    let again = resume(&engine, "ann", &sid).await;
    assert_eq!(again.unwrap_err().code.number(), 6);
}

#[tokio::test]
async fn a_visit_that_logs_out_leaves_the_others() {
    let engine = engine();
    let one = connect_as(&engine, "ann", VISIT).await;
    let other = connect_as(&engine, "ann", VISIT).await;
    one.call(Logout::new()).await.unwrap();
    assert!(!one.is_authenticated());
    assert!(other.is_authenticated());
}

#[tokio::test]
async fn a_visit_ends_with_its_user_also_when_the_notice_is_lost() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = with_storage(Policy::default(), Arc::new(storage.clone()));
    let visit = connect_as(&engine, "ann", VISIT).await;
    assert!(engine.delete_user(&"ann".into()).await.unwrap());
    assert!(has_ended(&visit));

    let looking = connect_as(&engine, "ann", VISIT).await;
    let blind = connect_as(&engine, "ann", VISIT).await;
    assert_eq!(take_all(&looking), [""; 0]);
    // Behind the engine's back.
    storage.delete_user(&"ann".into()).await.unwrap();
    engine.run_maintenance().await.unwrap();
    assert!(has_ended(&looking), "it has looked");
    engine.run_maintenance().await.unwrap();
    assert!(!blind.is_authenticated(), "it was looked for");
}

#[tokio::test]
async fn a_users_visits_send_no_faster_than_one_session() {
    let mut rates = Rates::default();
    rates.messages = Rate::new(3, Duration::from_secs(60 * 60));
    let mut policy = Policy::default();
    policy.rates = Some(rates);
    let engine = with_policy(policy);
    let mut refused = 0;
    for _ in 0..5 {
        let visit = connect_as(&engine, "ann", VISIT).await;
        refused += usize::from(send(&visit, "bob", "x").await.is_err());
    }
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn what_is_known_elsewhere_is_found_here() {
    let engine = engine();
    let mut ann = ident("ann");
    ann.phone = Some("+49 30 1234567".into());
    ann.picture = Some("picture".into());
    ann.user_status = Some("here".into());
    engine.upsert_user(&"ann".into(), &ann).await.unwrap();
    let bob = connect_as(&engine, "bob", VISIT).await;
    let profile = bob.call(UserInfo::new("ann")).await.unwrap();
    assert_eq!(profile.nick, "ANN");
    assert_eq!(profile.email, "ann@example.org");
    assert_eq!(
        (&*profile.picture, &*profile.user_status),
        ("picture", "here")
    );
    let find = async |email: &str, phone: &str| {
        let entry = ImportEntry::new("friend")
            .email(email.to_owned())
            .phone(phone.to_owned());
        let import = Import::new(vec![entry]);
        let found = bob.call(import).await.unwrap();
        found.len()
    };
    assert_eq!(find("Ann@Example.org", "").await, 1);
    assert_eq!(find("", "+49301234567").await, 1);

    ann.email = Some("new@example.org".into());
    ann.phone = None;
    engine.upsert_user(&"ann".into(), &ann).await.unwrap();
    assert_eq!(find("ann@example.org", "").await, 0);
    assert_eq!(find("new@example.org", "").await, 1);
    assert_eq!(find("", "+49301234567").await, 1, "not told, so it stays");
}

#[tokio::test]
async fn a_log_in_and_a_look_up_bring_the_profile_too() {
    let engine = engine();
    let (ann, _) = phone(&engine, "ann").await;
    let email = async |user: &str| {
        let info = ann.call(UserInfo::new(user));
        info.await.unwrap().email
    };
    assert_eq!(email("ann").await, "ann@example.org");
    assert_eq!(email("bob").await, "bob@example.org", "looked up");
    let change = SetUserInfo::default()
        .email("own@example.org")
        .user_status("own");
    ann.call(change).await.unwrap();
    assert_eq!(email("ann").await, "own@example.org");
    let (again, _) = phone(&engine, "ann").await;
    let profile = again.call(UserInfo::new("ann")).await.unwrap();
    assert_eq!(profile.email, "ann@example.org", "told again");
    assert_eq!(profile.user_status, "own", "not told");
}

#[tokio::test]
async fn a_store_that_fails_refuses_a_visit() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let engine = with_storage(Policy::default(), Arc::new(storage.clone()));
    storage.set_failing(true);
    let connected = engine.connect_as("ann".into(), ident("ann"), VISIT);
    assert_eq!(connected.await.unwrap_err().code.number(), 22);
    storage.set_failing(false);
    let visit = connect_as(&engine, "ann", VISIT).await;
    storage.set_failing(true);
    assert_eq!(take_all(&visit), [""; 0]);
    assert!(visit.is_authenticated(), "a store that fails ends nobody");
}

#[tokio::test]
async fn a_storage_without_accounts_needs_an_authenticator() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new())).without_accounts();
    let storage = Arc::new(storage);
    let built = Engine::builder()
        .storage(Arc::clone(&storage) as Arc<dyn Storage>)
        .build();
    assert!(matches!(built, Err(BuildError::NoAccounts)));

    let engine = with_storage(Policy::default(), storage);
    let (ann, _) = phone(&engine, "ann").await;
    send(&ann, "bob", "hello").await.unwrap();
    let reset = engine.reset_password(&"ann".into(), &"new".into()).await;
    assert!(!reset.unwrap(), "it is not kept here");
    assert!(ann.is_authenticated());
}

#[test]
fn an_engine_that_keeps_house_itself_needs_a_runtime() {
    let outside = Engine::builder().build();
    assert!(matches!(outside, Err(BuildError::NoRuntime)));
    Engine::builder().manual_maintenance().build().unwrap();
}
