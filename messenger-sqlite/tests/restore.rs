//! Stores that are older copies of one that was lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::Engine;
use messenger_core::clock::{Clock, SystemClock, Timestamp};
use messenger_core::proto::{
    Ack, Auth, Credentials, ErrorCode, Inbound, Message, Register, SendMessage, UserId,
};
use messenger_core::storage::{
    Expiry, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage, Watermark,
};
use messenger_sqlite::{BackupError, OpenError, SqliteStorage, back_up, mark_restored, salvage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SESSION: SessionKey = SessionKey([1; 32]);

/// The largest number that JSON readers which hold numbers as doubles can tell from its neighbours.
const MOST: u64 = 1 << 53;

fn bob() -> UserId {
    "bob".into()
}

async fn send(store: &SqliteStorage, to: &UserId) -> u64 {
    let message = Message::new("", "ann", to.clone(), 8).body("x");
    let new = NewMessage::new(message, Timestamp::default());
    store.append(new).await.unwrap().seq().unwrap()
}

async fn given(store: &SqliteStorage, up_to: u64) {
    let mark = Watermark::new(bob(), SESSION, up_to, Timestamp::default());
    store.advance(vec![mark]).await.unwrap();
}

async fn place(store: &SqliteStorage) -> u64 {
    let session = store.session(&bob(), &SESSION).await.unwrap();
    session.unwrap().delivered_up_to
}

async fn numbers(store: &SqliteStorage) -> Vec<u64> {
    let all = PageLimits::new(1000, usize::MAX);
    let inbox = store.inbox(&bob(), 0, all).await.unwrap().into_iter();
    inbox.map(|(seq, _)| seq).collect()
}

/// A store of bob, who has got five messages, and five that wait.
async fn begin(path: &Path) -> SqliteStorage {
    let store = SqliteStorage::open(path).unwrap();
    store.upsert_external_user(&bob(), "Bob").await.unwrap();
    let number = store.user_number(&bob()).await.unwrap().unwrap();
    let session = NewSession::new(Owner::new(bob(), number), SESSION, Timestamp::default());
    store.open_session(session.ack(true)).await.unwrap();
    for seq in 1..=10 {
        assert_eq!(send(&store, &bob()).await, seq);
    }
    given(&store, 5).await;
    store
}

/// What the device was given and has processed is a client's own affair; an acknowledgement of it is never wrong.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_what_was_lost_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let engine = engine(&path("m.db"));
    let connect = async |login: &str| {
        let connection = engine.connect();
        let register = Register::new(login.to_owned(), "secret", login.to_owned());
        connection.call(register).await.unwrap();
        let auth = Auth::new(login.to_owned(), "secret").ack();
        let accepted = connection.call(auth).await.unwrap();
        (connection, Credentials::new(accepted.uid, accepted.sid))
    };
    let ((ann, of_ann), (bob, of_bob)) = (connect("ann").await, connect("bob").await);
    for _ in 0..10 {
        ann.call(SendMessage::new("bob", "x")).await.unwrap();
    }
    bob.call(Ack::new(5)).await.unwrap();
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    for _ in 0..10 {
        ann.call(SendMessage::new("bob", "x")).await.unwrap();
    }
    bob.call(Ack::new(20)).await.unwrap();

    let engine = self::engine(&path("copy.db"));
    let ack = async |credentials: &Credentials, seq: u64| {
        let connection = engine.connect();
        let inbound = Inbound::new(Ack::new(seq)).credentials(credentials.clone());
        let reply = connection.handle(inbound).await;
        let code = reply.response.failure().map(|failure| failure.code);
        (connection, code)
    };
    for round in ["before", "behind"] {
        let (mut bob, refused) = ack(&of_bob, 20).await;
        assert_eq!(refused, None);
        let event = bob.next_message().await.unwrap();
        assert_eq!(event.seq, Some(6), "{round} the first message");
        let (ann, _) = ack(&of_ann, 0).await;
        ann.call(SendMessage::new("bob", "x")).await.unwrap();
    }
    let (mut bob, refused) = ack(&of_bob, 7).await;
    assert_eq!(refused, None);
    assert_eq!(
        bob.next_message().await.unwrap().seq,
        Some(8),
        "it is known"
    );
    let newest = engine.user(&"bob".into()).await.unwrap().unwrap().newest;
    let beyond = ack(&of_bob, newest + 1).await.1;
    assert_eq!(beyond, Some(ErrorCode::InvalidData));
}

fn engine(path: &Path) -> Engine {
    let storage = Arc::new(SqliteStorage::open(path).unwrap());
    let engine = Engine::builder().storage(storage);
    engine.manual_maintenance().build().unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_given_again_though_the_clock_was_ahead_at_the_last_restore() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    drop(begin(&path).await);
    let tomorrow = (SystemClock.now().as_secs() + 86_400) * 1_000_000;
    let file = rusqlite::Connection::open(&path).unwrap();
    let restored = "INSERT INTO about (name, value) VALUES ('lost up to', ?1)";
    file.execute(restored, [tomorrow.to_string()]).unwrap();
    drop(file);
    let store = SqliteStorage::open(&path).unwrap();
    let given = send(&store, &bob()).await;
    assert!(given > tomorrow);
    drop(store);
    mark_restored(&path).unwrap();
    let store = SqliteStorage::open(&path).unwrap();
    // What the copy does not have of those that were given meanwhile.
    assert!(send(&store, &bob()).await > tomorrow + 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_gives_a_number_that_another_has_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = begin(&path("m.db")).await;
    assert_eq!(store.lost_up_to(), 0);
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    std::fs::copy(path("copy.db"), path("again.db")).unwrap();
    for _ in 0..10 {
        send(&store, &bob()).await;
    }
    drop(store);

    let mut newest = 20;
    for name in ["copy.db", "again.db"] {
        let copy = SqliteStorage::open(path(name)).unwrap();
        assert_eq!(numbers(&copy).await, [6, 7, 8, 9, 10]);
        assert_eq!(place(&copy).await, 5);
        let first = send(&copy, &bob()).await;
        assert!(first > newest && first > copy.lost_up_to(), "{first}");
        assert!(copy.lost_up_to() >= newest);
        assert_eq!(send(&copy, &bob()).await, first + 1);
        copy.upsert_external_user(&"new".into(), "New")
            .await
            .unwrap();
        let of_new = send(&copy, &"new".into()).await;
        assert!(of_new > newest, "whoever had the name may have seen those");
        drop(copy);
        // It is a store by now, and starts again as any does.
        let copy = SqliteStorage::open(path(name)).unwrap();
        newest = send(&copy, &bob()).await;
        assert_eq!(newest, first + 2);
        assert_eq!(copy.newest(&bob()).await.unwrap(), newest);
        assert!(newest < MOST);
    }
}

/// What is dropped is dropped by messages, not by numbers, of which there are very many now.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_drops_what_was_given_in_few_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(begin(&path("m.db")).await);
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    let copy = SqliteStorage::open(path("copy.db")).unwrap();
    let to = bob();
    let sent = (0..1000).map(|_| send(&copy, &to));
    let sent = futures_util::future::join_all(sent).await;
    let newest = *sent.last().unwrap();
    given(&copy, newest).await;
    assert_eq!(place(&copy).await, newest);
    let nothing = Duration::ZERO;
    let expiry = Expiry::at(Timestamp::default(), nothing, nothing, nothing);
    let mut steps = 0;
    while copy.purge_expired(expiry).await.unwrap().is_zero() {
        steps += 1;
        assert!(steps < 10, "it does not come to an end");
    }
    assert_eq!(numbers(&copy).await, [0; 0]);
    assert_eq!(send(&copy, &bob()).await, newest + 1);
    given(&copy, newest + 1).await;
    assert_eq!(numbers(&copy).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_looks_into_a_copy_leaves_it_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = begin(&path("m.db")).await;
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    let beside = SqliteStorage::open_beside(path("copy.db")).unwrap();
    assert_eq!(beside.users(None, 9).await.unwrap(), [bob()]);
    beside
        .upsert_external_user(&"ann".into(), "Ann")
        .await
        .unwrap();
    drop(beside);
    messenger_sqlite::check(&path("copy.db")).unwrap();
    let newest = send(&store, &bob()).await;
    let copy = SqliteStorage::open(path("copy.db")).unwrap();
    assert!(send(&copy, &bob()).await > newest);
    assert!(copy.profile(&"ann".into()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_copy_is_told_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(begin(&path("m.db")).await);
    std::fs::copy(path("m.db"), path("copied.db")).unwrap();
    let copied = SqliteStorage::open(path("copied.db")).unwrap();
    let in_use = mark_restored(&path("copied.db")).unwrap_err();
    assert!(matches!(in_use, OpenError::InUse { .. }), "{in_use}");
    drop(copied);
    mark_restored(&path("copied.db")).unwrap();
    let copied = SqliteStorage::open(path("copied.db")).unwrap();
    assert!(send(&copied, &bob()).await > 1 << 50);
    let before = files(folder.path());
    mark_restored(&path("missing.db")).unwrap_err();
    assert_eq!(files(folder.path()), before, "none is made");
}

/// SQLite would write the log of the store that was there before over the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lies_where_a_copy_is_put_is_not_taken_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = begin(&path("m.db")).await;
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    for _ in 0..10 {
        send(&store, &bob()).await;
    }
    // As a server leaves it that was killed.
    std::fs::copy(path("m.db-wal"), path("wal")).unwrap();
    drop(store);
    std::fs::copy(path("copy.db"), path("m.db")).unwrap();
    std::fs::copy(path("wal"), path("m.db-wal")).unwrap();
    let opened = SqliteStorage::open(path("m.db")).unwrap_err();
    assert!(matches!(opened, OpenError::ForeignLog { .. }), "{opened}");
    let sentence = opened.to_string();
    assert!(sentence.contains("m.db-wal and"), "{sentence}");
    SqliteStorage::open_beside(path("m.db")).unwrap_err();
    messenger_sqlite::check(&path("m.db")).unwrap_err();
    back_up(&path("m.db"), &path("another.db")).unwrap_err();
    salvage(&path("m.db"), &path("saved.db")).unwrap_err();
    assert_eq!(
        std::fs::read(path("m.db")).unwrap(),
        std::fs::read(path("copy.db")).unwrap(),
        "it is as it was"
    );
    std::fs::remove_file(path("m.db-wal")).unwrap();
    let store = SqliteStorage::open(path("m.db")).unwrap();
    assert_eq!(numbers(&store).await, [6, 7, 8, 9, 10]);
    // Its own log is taken for its own, also when it was killed.
    send(&store, &bob()).await;
    std::fs::copy(path("m.db"), path("killed.db")).unwrap();
    std::fs::copy(path("m.db-wal"), path("killed.db-wal")).unwrap();
    let killed = SqliteStorage::open(path("killed.db")).unwrap();
    assert_eq!(numbers(&killed).await.len(), 6);
}

#[test]
fn what_is_empty_is_not_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, to) = (folder.path().join("m.db"), folder.path().join("copy.db"));
    std::fs::write(&store, "").unwrap();
    let error = back_up(&store, &to).unwrap_err();
    let is_empty = matches!(error, BackupError::Open(OpenError::Empty { .. }));
    assert!(is_empty, "{error}");
    assert_eq!(files(folder.path()), [store]);
}

#[test]
fn a_backup_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(SqliteStorage::open(path("m.db")).unwrap());
    let connection = rusqlite::Connection::open(path("m.db")).unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                  INSERT INTO users (login, nick) SELECT 'user' || i, 'nick' FROM n";
    connection.execute_batch(insert).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(path("m.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(path("m.db"), bytes).unwrap();
    let before = files(folder.path());
    let failed = back_up(&path("m.db"), &path("copy.db")).unwrap_err();
    assert!(matches!(failed, BackupError::Copy { .. }), "{failed}");
    assert_eq!(files(folder.path()), before);
    back_up(&path("m.db"), &path("no/such/folder/copy.db")).unwrap_err();
    assert_eq!(files(folder.path()), before);
}

/// One that was killed has left a part of it.
#[tokio::test]
async fn a_backup_is_made_again_where_one_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let _store = begin(&path("m.db")).await;
    std::fs::write(path("copy.db.partial"), "half of it").unwrap();
    back_up(&path("m.db"), &path("copy.db")).unwrap();
    assert!(!path("copy.db.partial").exists());
    messenger_sqlite::check(&path("copy.db")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path("copy.db")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}
