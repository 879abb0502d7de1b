//! Stores of earlier versions, and stores whose users are to be found by another rule.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::clock::Timestamp;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{
    Auth, Import, ImportEntry, Message, Register, SendMessage, SetUserInfo, UserId, UserInfo,
};
use messenger_core::storage::{
    Account, Accounts, AppendError, Appended, CreateAccountError, MemoryStorage, NewMessage,
    PageLimits, Storage,
};
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
        let now = Timestamp::from_micros(8_000_000);
        let new = NewMessage::new(message, now).mid(mid);
        store.append(new).await.unwrap()
    };
    let first = Appended::duplicate("waiting", 7);
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
        let message = Message::new("", "ann", "bob", 8).body("x");
        let new = NewMessage::new(message, Timestamp::from_micros(8_000_000));
        store
            .append(new.limits(InboxLimits::new(3, u64::MAX)))
            .await
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

/// Names that would be refused today, or be kept in another form, are served as they are.
#[tokio::test]
async fn odd_names_of_a_store_of_version_3_are_served_as_they_are() {
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
    let (pass_hash, logins) = (hash_of_secret().await, ODD_LOGINS);
    for login in logins {
        let insert = "INSERT INTO users (login, nick, pass_hash) VALUES (?1, ?1, ?2)";
        old.execute(insert, [login, &pass_hash]).unwrap();
    }
    drop(old);
    let engine = engine(&path, "RU");
    for login in ODD_LOGINS {
        let mut user = log_in(&engine, login).await;
        let profile = user.call(UserInfo::new(login)).await.unwrap();
        assert_eq!(profile.nick, login);
        user.call(SendMessage::new(login, "a note")).await.unwrap();
        assert_eq!(
            user.next_message().await.unwrap().message.to.as_str(),
            login
        );
        let again = Register::new(login, "secret", "Another");
        assert!(engine.connect().call(again).await.is_err(), "{login:?}");
    }
    // The composed form of a login that is there is no other login.
    let composed = Register::new("jos\u{e9}", "secret", "José");
    let taken = engine.connect().call(composed).await.unwrap_err();
    assert_eq!(taken.code.number(), 1);
}

const ODD_LOGINS: [&str; 4] = [
    "jose\u{301}",
    "ann lee",
    "a\u{200b}nn",
    "\u{ff41}\u{ff4e}\u{ff4e}",
];

/// As a store keeps it.
async fn hash_of_secret() -> String {
    let storage = Arc::new(MemoryStorage::new());
    let engine = Engine::builder().storage(Arc::clone(&storage) as Arc<dyn Storage>);
    let engine = engine.manual_maintenance().build().unwrap();
    let register = Register::new("ann", "secret", "Ann");
    engine.connect().call(register).await.unwrap();
    storage.account("ann").await.unwrap().unwrap().pass_hash
}

/// Those who were there before the store counted are counted from 0 on, as everybody else.
#[tokio::test]
async fn ephemeral_sessions_of_a_store_of_version_6_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let ann = UserId::from("ann");
    let store = SqliteStorage::open(&path).unwrap();
    store.upsert_external_user(&ann, "Ann").await.unwrap();
    drop(store);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "DROP TABLE arrivals; ALTER TABLE inboxes DROP COLUMN settled;
         ALTER TABLE users DROP COLUMN ephemeral_ended; PRAGMA user_version = 6;",
    )
    .unwrap();
    drop(file);
    let store = SqliteStorage::open(&path).unwrap();
    assert_eq!(store.ephemeral_ended(&ann).await.unwrap(), 0);
    store.end_ephemeral(&ann).await.unwrap();
    drop(store);
    let store = SqliteStorage::open(&path).unwrap();
    assert_eq!(store.ephemeral_ended(&ann).await.unwrap(), 1);
}

/// Messages are in one table of that version, and in either since.
#[tokio::test]
async fn messages_of_a_store_of_version_7_are_read_before_those_that_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let bob = UserId::from("bob");
    let send = async |store: &SqliteStorage, body: &str| {
        let message = Message::new("", "ann", "bob", 8).body(body);
        let new = NewMessage::new(message, Timestamp::from_micros(8_000_000));
        store.append(new).await.unwrap();
    };
    let store = SqliteStorage::open(&path).unwrap();
    store.upsert_external_user(&bob, "Bob").await.unwrap();
    send(&store, "before").await;
    drop(store);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "DROP TABLE arrivals; ALTER TABLE inboxes DROP COLUMN settled; PRAGMA user_version = 7;",
    )
    .unwrap();
    drop(file);
    let store = SqliteStorage::open(&path).unwrap();
    send(&store, "since").await;
    let kept = store.inbox(&bob, 0, PageLimits::new(9, 99)).await.unwrap();
    let kept = kept
        .into_iter()
        .map(|(seq, message)| (seq, message.body.as_str().to_owned()));
    let expected = [(1, "before".to_owned()), (2, "since".to_owned())];
    assert_eq!(kept.collect::<Vec<_>>(), expected);
}

/// Also with those whose store knew nothing of looks, and after the tables of looks have changed.
#[tokio::test]
async fn lookalikes_are_refused_of_users_from_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let store = SqliteStorage::open(&path).unwrap();
    for number in 0..2500 {
        let user = format!("user-{number}").as_str().into();
        store.upsert_external_user(&user, "User").await.unwrap();
    }
    drop(store);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "UPDATE users SET skeleton = 'as it was by older tables';
         UPDATE about SET value = '0' WHERE name = 'skeletons';",
    )
    .unwrap();
    drop(file);
    let store = SqliteStorage::open(&path).unwrap();
    for (login, is_alike) in [
        ("usеr-0", true),
        ("user-2O0", true),
        ("usеr-2499", true),
        ("user-2500", false),
    ] {
        let account = Account::new(login, login, "hash");
        let created = store.create_distinct_account(account).await;
        let refused = matches!(created, Err(CreateAccountError::Lookalike));
        assert_eq!(refused, is_alike, "{login}: {created:?}");
    }
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
