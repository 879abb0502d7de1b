//! Stores of earlier versions, and stores whose users are to be found by another rule.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::clock::Timestamp;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{Auth, Import, ImportEntry, Message, Register, SetUserInfo};
use messenger_core::storage::{AppendError, Appended, NewMessage, PageLimits, Storage};
use messenger_core::{Connection, Engine, Policy};
use messenger_sqlite::SqliteStorage;
use std::path::Path;
use std::sync::Arc;

/// An engine on the store, where numbers without a country code belong to the region.
fn engine(path: &Path, region: &str) -> Engine {
    let mut policy = Policy::default();
    policy.region = region.parse().unwrap();
    let storage = Arc::new(SqliteStorage::open(path).unwrap());
    let engine = Engine::builder().storage(storage).policy(policy);
    engine.manual_maintenance().build().unwrap()
}

async fn log_in(engine: &Engine, login: &str) -> Connection {
    let session = engine.connect();
    let auth = Auth::new(login, "secret");
    session.call(auth).await.unwrap();
    session
}

/// An engine with `ann`, whose session it gives.
async fn begin(path: &Path, region: &str) -> (Engine, Connection) {
    let engine = engine(path, region);
    let register = Register::new("ann", "secret", "Ann");
    engine.connect().call(register).await.unwrap();
    let ann = log_in(&engine, "ann").await;
    (engine, ann)
}

async fn is_found(session: &Connection, phone: &str) -> bool {
    let entry = ImportEntry::default().phone(phone);
    let import = Import::new(vec![entry]);
    !session.call(import).await.unwrap().is_empty()
}

#[tokio::test]
async fn another_default_region_finds_those_who_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let (engine, ann) = begin(&path, "RU").await;
    let set = SetUserInfo::new().phone("0171 2345678");
    ann.call(set).await.unwrap();
    assert!(!is_found(&ann, "+491712345678").await);
    drop((engine, ann));
    for (region, found) in [("DE", true), ("RU", false), ("DE", true)] {
        let engine = self::engine(&path, region);
        let ann = log_in(&engine, "ann").await;
        assert_eq!(is_found(&ann, "+491712345678").await, found, "{region}");
    }
}

/// A `mid` whose message is still there goes on to be its sender's and recipient's.
#[tokio::test]
async fn mids_of_a_store_of_version_2_are_kept_with_their_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    let tables = concat!(
        include_str!("../src/schema.sql"),
        include_str!("../src/about.sql")
    );
    old.execute_batch(tables).unwrap();
    old.pragma_update(None, "application_id", 0x6d73_6772)
        .unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    old.execute_batch(
        "INSERT INTO users (login, nick) VALUES ('ann', 'Ann'), ('bob', 'Bob'), ('eve', 'Eve');
         INSERT INTO inboxes (user, newest, bytes, waiting_bytes) VALUES ('bob', 1, 1, 1);
         INSERT INTO messages (recipient, seq, id, sender, nick, time, size, body, mime, attachment)
         VALUES ('bob', 1, 'waiting', 'ann', 'Ann', 7, 1, '1', '', '');
         INSERT INTO mids (sender, mid, used_us, id, time)
         VALUES ('ann', 'm', 7000000, 'waiting', 7), ('ann', 'n', 7000000, 'given', 7);",
    )
    .unwrap();
    drop(old);
    let store = SqliteStorage::open(&path).unwrap();
    let send = async |to: &str, mid: &str| {
        let message = Message::new("", "ann", to, 0).body("1");
        let new = NewMessage {
            message: message.into(),
            sender: None,
            mid: Some(mid.into()),
            mid_forgotten_before: Timestamp::default(),
            now: Timestamp::from_micros(8_000_000),
            limits: InboxLimits::default(),
        };
        store.append(new).await.unwrap()
    };
    let first = Appended::Duplicate {
        id: "waiting".into(),
        time: 7,
    };
    assert_eq!(send("bob", "m").await, first);
    assert_eq!(send("eve", "m").await.seq(), Some(1));
    assert_eq!(send("bob", "n").await.seq(), Some(2));
    assert!(matches!(send("bob", "n").await, Appended::Duplicate { .. }));
}

/// Counters of inboxes, which earlier versions had in the numbers, are right from the first message on.
#[tokio::test]
async fn inboxes_of_a_store_of_version_3_hold_as_much_as_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    let tables = concat!(
        include_str!("../src/schema.sql"),
        include_str!("../src/about.sql"),
        include_str!("../src/mids.sql")
    );
    old.execute_batch(tables).unwrap();
    old.pragma_update(None, "application_id", 0x6d73_6772)
        .unwrap();
    old.pragma_update(None, "user_version", 3).unwrap();
    old.execute_batch(
        "INSERT INTO users (login, nick) VALUES ('bob', 'Bob');
         INSERT INTO inboxes (user, newest, oldest, oldest_time, given, given_to_all, bytes, waiting_bytes)
         VALUES ('bob', 3, 2, 7, 2, 1, 2, 1);
         INSERT INTO messages (recipient, seq, id, sender, nick, time, size, body, mime, attachment)
         VALUES ('bob', 2, '2', 'ann', 'Ann', 7, 1, '2', '', ''),
                ('bob', 3, '3', 'ann', 'Ann', 7, 1, '3', '', ''),
                ('bob', 4, '4', 'ann', 'Ann', 7, 1, '4', '', '');",
    )
    .unwrap();
    drop(old);
    let store = SqliteStorage::open(&path).unwrap();
    let send = async || {
        let new = NewMessage {
            message: Message::new("", "ann", "bob", 8).body("x").into(),
            sender: None,
            mid: None,
            mid_forgotten_before: Timestamp::default(),
            now: Timestamp::from_micros(8_000_000),
            limits: InboxLimits::new(3, u64::MAX),
        };
        store.append(new).await
    };
    let sent = send().await.unwrap();
    assert!(
        matches!(
            sent,
            Appended::Stored {
                seq: 5,
                dropped: 1,
                ..
            }
        ),
        "{sent:?}"
    );
    let kept = store.inbox(&"bob".into(), 0, PageLimits::new(9, 9)).await;
    let kept: Vec<_> = kept.unwrap().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(kept, [3, 4, 5]);
    assert!(matches!(send().await, Err(AppendError::InboxFull)));
}

/// What version 1 took for the number of `+7 812 123-45-67` is another one.
#[tokio::test]
async fn keys_of_a_store_of_version_1_are_computed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../src/schema.sql"))
        .unwrap();
    old.pragma_update(None, "application_id", 0x6d73_6772)
        .unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute_batch("BEGIN").unwrap();
    for number in 0..1200 {
        let insert =
            "INSERT INTO users (login, nick, phone, phone_key) VALUES (?1, ?1, ?2, '+7121234567')";
        let phone = format!("+7 812 123-{number:04}");
        let row = (format!("user{number}"), phone);
        old.execute(insert, row).unwrap();
    }
    old.execute_batch("COMMIT").unwrap();
    drop(old);
    let (_engine, ann) = begin(&path, "RU").await;
    assert!(!is_found(&ann, "+7121234567").await);
    for phone in ["8 (812) 123-00-00", "+78121231199"] {
        assert!(is_found(&ann, phone).await, "{phone}");
    }
}
