//! Messages that have just come lie in a table of their own: wherever they lie, an inbox is one.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use messenger_core::clock::Timestamp;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{Ack, Message, UserId};
use messenger_core::storage::{
    Expiry, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage, Watermark,
};
use messenger_sqlite::{SqliteStorage, TransferSource, check, salvage};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{engine, join, send};
use tempfile::TempDir;

/// More is no short message, which lies among those that stay at once.
const LONG: usize = 5000;

/// Until then everything has happened.
const DEADLINE: Duration = Duration::from_secs(60);

/// A store with `bob`, who is away.
async fn begin() -> (TempDir, PathBuf, SqliteStorage) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let store = SqliteStorage::open(&path).unwrap();
    store.upsert_external_user(&bob(), "Bob").await.unwrap();
    (folder, path, store)
}

fn bob() -> UserId {
    "bob".into()
}

fn to_bob(bytes: usize) -> NewMessage {
    to_bob_at(7, bytes)
}

fn to_bob_at(seconds: u64, bytes: usize) -> NewMessage {
    let message = Message::new("", "ann", "bob", seconds).body("x".repeat(bytes));
    let new = NewMessage::new(message, Timestamp::from_micros(seconds * 1_000_000));
    new.limits(InboxLimits::new(u64::MAX, u64::MAX))
}

/// A new session of bob's, by one byte of its key.
async fn open_session(store: &SqliteStorage, key: u8) {
    let number = store.user_number(&bob()).await.unwrap().unwrap();
    let key = SessionKey([key; 32]);
    let session = NewSession::new(Owner::new(bob(), number), key, Timestamp::default());
    store.open_session(session).await.unwrap();
}

async fn give(store: &SqliteStorage, key: u8, up_to: u64) {
    let key = SessionKey([key; 32]);
    let mark = Watermark::new(bob(), key, up_to, Timestamp::default());
    store.advance(vec![mark]).await.unwrap();
}

async fn seqs(store: &SqliteStorage) -> Vec<u64> {
    let all = PageLimits::new(1_000_000, usize::MAX);
    let inbox = store.inbox(&bob(), 0, all).await.unwrap();
    inbox.into_iter().map(|(seq, _)| seq).collect()
}

fn count(path: &Path, table: &str) -> i64 {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = format!("SELECT count(*) FROM {table}");
    file.query_row(&count, [], |row| row.get(0)).unwrap()
}

/// Has what has just come stay where it is, however long a test takes, until the trigger is dropped.
fn hold(path: &Path) -> Connection {
    let file = Connection::open(path).unwrap();
    file.execute_batch(
        "CREATE TRIGGER held BEFORE INSERT ON messages WHEN new.size < 4000
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .unwrap();
    file
}

fn let_go(path: &Path) {
    let file = Connection::open(path).unwrap();
    file.execute_batch("DROP TRIGGER held").unwrap();
}

/// How many messages have just come. (Rows of which none is left have been counted too.)
fn come(path: &Path) -> i64 {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = "SELECT coalesce(sum(json_array_length(messages)), 0) FROM arrivals";
    file.query_row(count, [], |row| row.get(0)).unwrap()
}

/// What a server that is killed now leaves behind. (Another process copies it: this one's locks would be lost when it
/// closes a file of its own.)
fn killed(store: &Path) -> PathBuf {
    let folder = store.parent().unwrap();
    let to = folder.join("killed");
    std::fs::create_dir(&to).unwrap();
    for name in ["messenger.db", "messenger.db-wal"] {
        let from = folder.join(name);
        let copied = Command::new("cp").arg(from).arg(&to).status();
        assert!(copied.unwrap().success());
    }
    to.join("messenger.db")
}

#[tokio::test]
async fn an_inbox_is_in_order_wherever_its_messages_lie() {
    let (_folder, _path, store) = begin().await;
    for bytes in [1, LONG, 2, 3, LONG, 4] {
        store.append(to_bob(bytes)).await.unwrap();
    }
    assert_eq!(seqs(&store).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(store.newest(&bob()).await.unwrap(), 6);
    let two = PageLimits::new(2, usize::MAX);
    let page = store.inbox(&bob(), 2, two).await.unwrap();
    let page: Vec<_> = page.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(page, [3, 4]);
}

/// It counts among those that fill the inbox, and the purge finds it.
#[tokio::test]
async fn what_had_just_come_when_a_server_was_killed_is_there_and_counts() {
    let (_folder, path, store) = begin().await;
    let _held = hold(&path);
    for bytes in [10, 20, 30, LONG] {
        store.append(to_bob(bytes)).await.unwrap();
    }
    assert_eq!((count(&path, "arrivals"), count(&path, "messages")), (3, 1));
    let killed = killed(&path);
    let_go(&killed);
    let store = SqliteStorage::open(&killed).unwrap();
    assert_eq!(seqs(&store).await, [1, 2, 3, 4]);
    let more = to_bob(1).limits(InboxLimits::new(5, u64::MAX));
    assert_eq!(store.append(more.clone()).await.unwrap().seq(), Some(5));
    store.append(more).await.unwrap_err();
    // All messages are older than a second, nothing else than a year.
    let (now, year) = (
        Timestamp::from_micros(9_000_000),
        Duration::from_secs(31_536_000),
    );
    let expiry = Expiry::at(now, year, Duration::from_secs(1), year);
    while store.purge_expired(expiry).await.unwrap().is_zero() {}
    assert_eq!(seqs(&store).await, [0; 0]);
}

/// Nothing but messages is written between one start and the next.
#[tokio::test]
async fn a_server_that_is_killed_twice_knows_which_message_is_the_oldest() {
    let (_folder, path, store) = begin().await;
    store.append(to_bob_at(7, 10)).await.unwrap();
    let path = killed(&path);
    let store = (SqliteStorage::open(&path).unwrap(), store).0;
    store.append(to_bob_at(9, 20)).await.unwrap();
    let path = killed(&path);
    let store = (SqliteStorage::open(&path).unwrap(), store).0;
    assert_eq!(seqs(&store).await, [1, 2]);
    let (now, year) = (
        Timestamp::from_micros(10_000_000),
        Duration::from_secs(31_536_000),
    );
    let expiry = Expiry::at(now, year, Duration::from_secs(2), year);
    while store.purge_expired(expiry).await.unwrap().is_zero() {}
    assert_eq!(seqs(&store).await, [2]);
}

#[tokio::test]
async fn what_had_just_come_is_saved_of_a_damaged_store() {
    let (folder, path, store) = begin().await;
    let _held = hold(&path);
    for bytes in [10, 20, LONG] {
        store.append(to_bob(bytes)).await.unwrap();
    }
    assert_eq!((count(&path, "arrivals"), count(&path, "messages")), (2, 1));
    let to = folder.path().join("saved.db");
    let saved = salvage(&killed(&path), &to).unwrap();
    let messages = saved.tables.iter().find(|table| table.name == "messages");
    let messages = messages.unwrap();
    assert_eq!((messages.saved, messages.lost), (3, Some(0)), "{saved}");
    check(&to).unwrap();
    let store = SqliteStorage::open(&to).unwrap();
    assert_eq!(seqs(&store).await, [1, 2, 3]);
}

/// SQLite does not know what is to be in a text.
#[tokio::test]
async fn rows_whose_messages_cannot_be_read_are_told_and_left_out() {
    let (folder, path, store) = begin().await;
    let _held = hold(&path);
    for bytes in [10, 20, 30, 40] {
        store.append(to_bob(bytes)).await.unwrap();
    }
    let killed = killed(&path);
    check(&killed).unwrap();
    let file = Connection::open(&killed).unwrap();
    file.execute_batch(
        r#"UPDATE arrivals SET messages = '["no list"]' WHERE number = (SELECT min(number) FROM arrivals);
           UPDATE arrivals SET messages = replace(messages, ',7,', ',7.5,')
           WHERE number = (SELECT max(number) FROM arrivals)"#,
    )
    .unwrap();
    drop(file);
    check(&killed).unwrap_err();
    let to = folder.path().join("saved.db");
    let saved = salvage(&killed, &to).unwrap();
    let messages = saved.tables.iter().find(|table| table.name == "messages");
    let messages = messages.unwrap();
    assert_eq!((messages.saved, messages.lost), (2, None), "{saved}");
    check(&to).unwrap();
    let store = SqliteStorage::open(&to).unwrap();
    assert_eq!(seqs(&store).await, [2, 3]);
}

#[tokio::test]
async fn a_closed_store_has_its_messages_in_one_table() {
    let (_folder, path, store) = begin().await;
    for _ in 0..600 {
        store.append(to_bob(10)).await.unwrap();
    }
    drop(store);
    assert_eq!(
        (count(&path, "arrivals"), count(&path, "messages")),
        (0, 600)
    );
}

/// What is delivered is dropped from either table, and counted right in both.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_stay_are_moved_and_delivered_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let engine = engine(&path);
    let (ann, bob) = (join(&engine, "ann").await, join(&engine, "bob").await);
    for number in 0..300 {
        send(&ann, "bob", "hello".to_owned(), number).await;
    }
    let begun = Instant::now();
    // The engine asks the store for something twice a second.
    while count(&path, "messages") < 300 {
        assert!(begun.elapsed() < DEADLINE, "they are not moved");
        tokio::task::yield_now().await;
    }
    for number in 300..400 {
        send(&ann, "bob", "hello".to_owned(), number).await;
    }
    for delivered in [250, 299, 301, 350, 399] {
        bob.call(Ack::new(delivered)).await.unwrap();
        let rest = i64::try_from(400 - delivered).unwrap();
        assert_eq!(count(&path, "messages") + count(&path, "arrivals"), rest);
        let file = Connection::open(&path).unwrap();
        let select = "SELECT kept, waiting FROM inboxes WHERE user = 'bob'";
        let counted = file.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?)));
        // Those that have just come are counted when the row is read.
        let (kept, waiting): (i64, i64) = counted.unwrap();
        assert!(kept == rest && waiting == rest, "{kept} {waiting} {rest}");
    }
}

/// One inbox is full, so what has come to it in a transaction is moved in the same one.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_together_with_something_that_does_not_stay_is_kept() {
    let (_folder, path, store) = begin().await;
    let carol = UserId::from("carol");
    store.upsert_external_user(&carol, "Carol").await.unwrap();
    open_session(&store, 1).await;
    open_session(&store, 2).await;
    let small = |to: &str| {
        let message = Message::new("", "ann", to, 7).body("x");
        let new = NewMessage::new(message, Timestamp::default());
        new.limits(InboxLimits::new(2, u64::MAX))
    };
    // It waits for nobody, and is kept for the session that lags behind.
    store.append(small("bob")).await.unwrap();
    give(&store, 1, 1).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = store.was_changed_beside();
    let all = ["bob", "bob", "carol"].map(|to| store.append(small(to)));
    let all = futures_util::future::try_join_all(all);
    // All of them are in the queue by then.
    let unlock = async { other.execute_batch("ROLLBACK").unwrap() };
    let (_, sent, ()) = tokio::join!(biased; first, all, unlock);
    sent.unwrap();
    // Rows of which nothing is left are dropped behind a transaction in which nothing comes.
    store.was_changed_beside().await.unwrap();
    let store = SqliteStorage::open(killed(&path)).unwrap();
    let all = PageLimits::new(1000, usize::MAX);
    assert_eq!(store.inbox(&carol, 0, all).await.unwrap().len(), 1);
}

/// Short messages and long ones lie in two tables.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_while_messages_come_misses_none() {
    const MESSAGES: u64 = 3000;
    let (_folder, _path, store) = begin().await;
    open_session(&store, 1).await;
    let sending = async {
        for _ in 0..MESSAGES / 6 {
            let six = [1, LONG, 2, LONG, 3, LONG].map(|bytes| store.append(to_bob(bytes)));
            futures_util::future::try_join_all(six).await.unwrap();
        }
    };
    let reading = async {
        let mut cursor = 0;
        while cursor < MESSAGES {
            let page = PageLimits::new(1000, usize::MAX);
            let before = cursor;
            for (seq, _) in store.inbox(&bob(), cursor, page).await.unwrap() {
                assert_eq!(seq, cursor + 1, "one is missed");
                cursor = seq;
            }
            if cursor != before {
                give(&store, 1, cursor).await;
            }
        }
    };
    tokio::join!(sending, reading);
}

/// They are kept in memory as well.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_have_just_come() {
    let (_folder, path, store) = begin().await;
    for _ in 0..24 {
        let appends = (0..1000).map(|_| store.append(to_bob(10)));
        futures_util::future::try_join_all(appends).await.unwrap();
        assert!(come(&path) <= 16_384);
    }
    assert_eq!(seqs(&store).await.len(), 24_000);
}

/// It has not looked since the command has written.
#[tokio::test]
async fn a_server_that_is_stopped_behind_a_command_spoils_no_inbox() {
    let (_folder, path, store) = begin().await;
    for _ in 0..5 {
        store.append(to_bob(10)).await.unwrap();
    }
    let beside = SqliteStorage::open_beside(&path).unwrap();
    assert!(beside.delete_user(&bob()).await.unwrap());
    beside
        .upsert_external_user(&bob(), "another Bob")
        .await
        .unwrap();
    beside.append(to_bob(10)).await.unwrap();
    drop(store);
    drop(beside);
    let store = SqliteStorage::open(&path).unwrap();
    assert_eq!(store.newest(&bob()).await.unwrap(), 1);
    let more = to_bob(10).limits(InboxLimits::new(2, u64::MAX));
    assert_eq!(store.append(more.clone()).await.unwrap().seq(), Some(2));
    store.append(more).await.unwrap_err();
}

/// As when the disk is full.
#[tokio::test]
async fn a_store_is_served_while_what_had_just_come_cannot_be_moved() {
    let (_folder, path, store) = begin().await;
    let _held = hold(&path);
    for _ in 0..3 {
        store.append(to_bob(10)).await.unwrap();
    }
    let path = killed(&path);
    // Or it would move a part of it elsewhere.
    TransferSource::open(&path).unwrap_err();
    let store = SqliteStorage::open(&path).unwrap();
    assert_eq!(seqs(&store).await, [1, 2, 3]);
    let begun = Instant::now();
    // Longer than messages lie there.
    for number in 0.. {
        if number < 1000 {
            store.append(to_bob(10)).await.unwrap();
        } else if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
        store.was_changed_beside().await.unwrap();
    }
    let sent = seqs(&store).await;
    assert_eq!(sent, (1..=sent.len() as u64).collect::<Vec<_>>());
    assert_eq!(count(&path, "messages"), 0);
    let file = Connection::open(&path).unwrap();
    file.execute_batch("DROP TRIGGER held").unwrap();
    let begun = Instant::now();
    while count(&path, "messages") < 3 {
        assert!(begun.elapsed() < DEADLINE, "they are not moved");
        store.was_changed_beside().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(seqs(&store).await, sent);
}
