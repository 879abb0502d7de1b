//! The store keeps the promises of every store, and those of a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::future::join_all;
use messenger_core::clock::Timestamp;
use messenger_core::proto::{Auth, Message, Register, SendMessage, UserId, UserInfo};
use messenger_core::storage::{
    AppendError, Expiry, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage, Watermark,
};
use messenger_core::{Engine, Policy, testing};
use messenger_sqlite::{OpenError, SqliteStorage};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long anything may take: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    testing::storage::suite(async || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let path = folder.path().join(format!("{number}.db"));
        Arc::new(SqliteStorage::open(path).unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[test]
fn a_second_server_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let first = SqliteStorage::open(&path).unwrap();
    let second = SqliteStorage::open(&path).unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    drop(first);
    SqliteStorage::open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_store_is_readable_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let _store = SqliteStorage::open(&path).unwrap();
    for name in ["messenger.db", "messenger.db-wal"] {
        let file = std::fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn files_that_cannot_be_a_store_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    let nowhere = SqliteStorage::open(path("no/such/folder/m.db")).unwrap_err();
    assert!(matches!(nowhere, OpenError::Lock { .. }), "{nowhere}");

    std::fs::write(
        path("text.db"),
        "this is no database, and long enough to be sure of it".repeat(50),
    )
    .unwrap();
    let text = SqliteStorage::open(path("text.db")).unwrap_err();
    assert!(matches!(text, OpenError::Sqlite { .. }), "{text}");
    let said = text.source().unwrap().to_string();
    assert_eq!(said, "file is not a database", "what SQLite says");

    let other = rusqlite::Connection::open(path("other.db")).unwrap();
    other
        .execute_batch("CREATE TABLE songs (name TEXT)")
        .unwrap();
    drop(other);
    let other = SqliteStorage::open(path("other.db")).unwrap_err();
    assert!(matches!(other, OpenError::NotOurs { .. }), "{other}");

    drop(SqliteStorage::open(path("newer.db")).unwrap());
    let newer = rusqlite::Connection::open(path("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let newer = SqliteStorage::open(path("newer.db")).unwrap_err();
    assert!(
        matches!(newer, OpenError::Newer { found: 99, .. }),
        "{newer}"
    );
    assert!(newer.to_string().contains("run the newer program"));
}

/// Everything that is called comes back as it was when the store is opened again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    testing::storage::durability(async || {
        let storage = SqliteStorage::open(folder.path().join("messenger.db")).unwrap();
        Arc::new(storage) as Arc<dyn Storage>
    })
    .await;
}

/// Weeks of steady traffic: what was given, and `mid`s that are forgotten, leave room for what comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_does_not_grow_under_steady_traffic() {
    const USERS: u64 = 10;
    const MESSAGES_A_DAY: u64 = 500;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let storage = SqliteStorage::open(&path).unwrap();
    let user = |number: u64| UserId::from(format!("user{number}"));
    let day = Duration::from_secs(24 * 60 * 60);
    let at = |days: u64| Timestamp::from_micros((1_700_000_000 + days * day.as_secs()) * 1_000_000);
    for number in 0..USERS {
        storage
            .upsert_external_user(&user(number), "nick")
            .await
            .unwrap();
        let known = storage.user_number(&user(number)).await.unwrap();
        let owner = Owner::new(user(number), known.unwrap());
        let session = NewSession::new(owner, SessionKey([0; 32]), at(0));
        storage.open_session(session).await.unwrap();
    }
    // The log beside the file is emptied into it at 4 MiB, whenever that is.
    let size = || std::fs::metadata(&path).unwrap().len();
    let mut after_ten_days = 0;
    for today in 0..28 {
        let now = at(today);
        let appends = (0..MESSAGES_A_DAY).map(|number| {
            let message =
                Message::new("", "", user(number % USERS), now.as_secs()).body("x".repeat(2000));
            let new = NewMessage::new(message, now)
                .mid(format!("{today} {number}"))
                .mid_forgotten_before(now.before(7 * day));
            storage.append(new)
        });
        for appended in join_all(appends).await {
            appended.unwrap();
        }
        let watermarks = (0..USERS).map(|number| {
            let delivered_up_to = (today + 1) * MESSAGES_A_DAY / USERS;
            Watermark::new(user(number), SessionKey([0; 32]), delivered_up_to, now)
        });
        storage.advance(watermarks.collect()).await.unwrap();
        let old = Expiry::at(now, 30 * day, 30 * day, 7 * day);
        while storage.purge_expired(old).await.unwrap().is_zero() {}
        if today == 10 {
            after_ten_days = size();
        }
    }
    let after_weeks = size();
    assert!(
        after_weeks <= after_ten_days + after_ten_days / 10,
        "{after_ten_days} bytes after ten days, {after_weeks} after four weeks"
    );
}

#[tokio::test]
async fn what_an_operator_writes_beside_a_server_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let missing = SqliteStorage::open_beside(&path).unwrap_err();
    assert!(matches!(missing, OpenError::Sqlite { .. }), "{missing}");
    let server = SqliteStorage::open(&path).unwrap();
    let ann = UserId::from("ann");
    let append = async || {
        let message = Message::new("", "", ann.clone(), 0);
        let new = NewMessage::new(message, Timestamp::default());
        server.append(new).await
    };
    server.upsert_external_user(&ann, "Ann").await.unwrap();
    append().await.unwrap();
    let beside = SqliteStorage::open_beside(&path).unwrap();
    assert!(beside.delete_user(&ann).await.unwrap());
    append().await.unwrap_err();
    beside
        .upsert_external_user(&ann, "Another Ann")
        .await
        .unwrap();
    append().await.unwrap();
    assert_eq!(server.newest(&ann).await.unwrap(), 1, "she begins anew");
    drop(beside);
    messenger_sqlite::check(&path).unwrap();
}

#[tokio::test]
async fn messages_leave_as_much_of_the_disk_free_as_they_must() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStorage::open(folder.path().join("messenger.db")).unwrap();
    let ann = UserId::from("ann");
    let append = async || {
        let message = Message::new("", "", ann.clone(), 0);
        store
            .append(NewMessage::new(message, Timestamp::default()))
            .await
    };
    store.keep_free(u64::MAX);
    store.upsert_external_user(&ann, "Ann").await.unwrap();
    let refused = append().await.unwrap_err();
    let AppendError::Storage(error) = refused else {
        panic!("{refused}");
    };
    let advice = error.source().unwrap().to_string();
    assert!(advice.contains("make room"), "{advice}");
    assert_eq!(store.newest(&ann).await.unwrap(), 0);
    // More than that is free wherever this is tested.
    store.keep_free(1);
    append().await.unwrap();
}

#[test]
fn a_damaged_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    drop(SqliteStorage::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                  INSERT INTO users (login, nick) SELECT 'user' || i, 'nick' FROM n";
    connection.execute_batch(insert).unwrap();
    drop(connection);
    messenger_sqlite::check(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    messenger_sqlite::check(&path).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_program_keeps_the_file_locked_everybody_is_told_to_try_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let storage = Arc::new(SqliteStorage::open(&path).unwrap());
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.passwords.waiting = 100;
    let engine = Engine::builder().policy(policy).storage(storage.clone());
    let engine = engine.build().unwrap();
    let joining = (0..30).map(async |number| {
        let (connection, login) = (engine.connect(), format!("user-{number}"));
        let account = Register::new(login.as_str(), "secret", login.as_str());
        connection.call(account).await.unwrap();
        connection.call(Auth::new(login, "secret")).await.unwrap();
        connection
    });
    let joined = join_all(joining).await;

    let other = rusqlite::Connection::open(&path).unwrap();
    let locking = async {
        // The engine may be writing.
        while other.execute_batch("BEGIN IMMEDIATE").is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, locking).await.unwrap();
    // One after the other they would wait for minutes.
    let refused = joined.iter().flat_map(|connection| {
        (0..5).map(move |number| async move {
            let message = SendMessage::new("user-0", format!("locked {number}"));
            connection.call(message).await.unwrap_err()
        })
    });
    let refused = timeout(DEADLINE, join_all(refused)).await.unwrap();
    assert!(refused.iter().all(|failure| failure.code.number() == 22));
    joined[1].call(UserInfo::new("user-1")).await.unwrap();
    // The store itself says that nothing was done, before the engine gives up.
    let ended = (0..100).map(|_| async {
        let error = storage
            .end_session(&"user-0".into(), &SessionKey([0; 32]))
            .await;
        error.unwrap_err().is_unknown()
    });
    let ended = timeout(DEADLINE, join_all(ended)).await.unwrap();
    assert!(ended.iter().all(|is_unknown| !is_unknown));
    other.execute_batch("ROLLBACK").unwrap();

    joined[1]
        .call(SendMessage::new("user-0", "unlocked"))
        .await
        .unwrap();
    let all = PageLimits::new(usize::MAX, usize::MAX);
    let kept = storage.inbox(&"user-0".into(), 0, all).await.unwrap();
    let bodies: Vec<_> = kept.iter().map(|(_, message)| &message.body).collect();
    let are_known = refused
        .iter()
        .all(|failure| !failure.text.contains("not known"));
    assert!(
        !are_known || bodies.len() == 1,
        "was told that nothing was done: {bodies:?}"
    );
}
