//! What is deleted is gone from the file's bytes, and found without looking through the whole file.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use messenger_core::proto::{Ack, AddContact, Import, ImportEntry, SendMessage, SetUserInfo};
use messenger_core::storage::Storage;
use messenger_core::{Connection, Engine};
use messenger_sqlite::SqliteStorage;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{engine, join, send};
use tempfile::TempDir;

/// In every body.
const MARKER: &str = "between the two of us";

/// Until then all has happened that happens by itself.
const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    folder: TempDir,
    engine: Engine,
    ann: Connection,
    bob: Connection,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder.path().join("messenger.db"));
        Self {
            ann: join(&engine, "ann").await,
            bob: join(&engine, "bob").await,
            engine,
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("messenger.db")
    }

    /// Messages of many sizes, within a page and on several.
    async fn send_to_bob(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let text = format!("{MARKER}: {number} {}", "x".repeat(number * 37 % 6000));
            send(&self.ann, "bob", text, number).await;
        }
    }

    /// Waits until the marker is in no file.
    async fn forgets(&self) {
        let begun = Instant::now();
        while is_in_the_bytes(self.folder.path()) {
            assert!(begun.elapsed() < DEADLINE, "it is still there");
            tokio::task::yield_now().await;
        }
    }
}

/// Looked for by another process: this one's locks would be lost when it closes a file of its own.
fn is_in_the_bytes(folder: &Path) -> bool {
    let grep = Command::new("grep")
        .args(["-rqaF", MARKER])
        .arg(folder)
        .status();
    grep.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_deleted_user_are_gone_from_the_bytes() {
    let world = World::new().await;
    world.send_to_bob(0..500).await;
    assert!(is_in_the_bytes(world.folder.path()));
    assert!(world.engine.delete_user(&"bob".into()).await.unwrap());
    world.forgets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_user_deleted_by_a_command_are_gone_from_the_bytes() {
    let world = World::new().await;
    world.send_to_bob(0..100).await;
    let reader = rusqlite::Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let users = "SELECT count(*) FROM users";
    reader.query_row(users, [], |_| Ok(())).unwrap();
    let beside = SqliteStorage::open_beside(world.path()).unwrap();
    assert!(beside.delete_user(&"bob".into()).await.unwrap());
    drop(beside);
    assert!(is_in_the_bytes(world.folder.path()), "somebody reads it");
    reader.execute_batch("COMMIT").unwrap();
    world.forgets().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_messages_are_gone_from_the_bytes() {
    let world = World::new().await;
    for round in 0..50 {
        world.send_to_bob(round * 10..round * 10 + 10).await;
        let delivered = u64::try_from(round * 10 + 7).unwrap();
        world.bob.call(Ack::new(delivered)).await.unwrap();
    }
    world.bob.call(Ack::new(500)).await.unwrap();
    world.forgets().await;
}

/// Every column of the file that a user is deleted by, found by deleting one. One has no index, as it would cost each
/// message: a reader goes through that in small steps, while everybody goes on.
#[tokio::test]
async fn nothing_is_looked_through_to_delete_a_user() {
    let world = World::new().await;
    for (one, other) in [(&world.ann, "bob"), (&world.bob, "ann")] {
        one.call(AddContact::new(other)).await.unwrap();
        let login = one.user().unwrap();
        let set = SetUserInfo::new().email(format!("{login}@example.org"));
        one.call(set).await.unwrap();
        send(one, other, "hello".to_owned(), 1).await;
    }
    for (one, other) in [(&world.ann, "bob"), (&world.bob, "ann")] {
        let entry = ImportEntry::new("a friend").email(format!("{other}@example.org"));
        let found = one.call(Import::new(vec![entry])).await.unwrap();
        assert!(!found.is_empty());
    }
    let file = rusqlite::Connection::open(world.path()).unwrap();
    let before = columns_with(&file, "bob");
    assert!(world.engine.delete_user(&"bob".into()).await.unwrap());
    let after = columns_with(&file, "bob");
    assert!(after.contains(&("messages".to_owned(), "sender".to_owned())));
    let deleted_by: Vec<_> = before.difference(&after).collect();
    assert!(deleted_by.len() >= 10, "{deleted_by:?}");
    let without_index = ("mids".to_owned(), "sender".to_owned());
    assert!(deleted_by.contains(&&without_index));
    for (table, column) in deleted_by {
        if *table == without_index.0 && *column == without_index.1 {
            continue;
        }
        let delete = format!("EXPLAIN QUERY PLAN DELETE FROM {table} WHERE {column} = ?1");
        let mut explain = file.prepare(&delete).unwrap();
        let plan = explain.query_map(["bob"], |row| row.get::<_, String>("detail"));
        let plan: Vec<_> = plan.unwrap().collect::<Result<_, _>>().unwrap();
        assert!(
            plan.iter().all(|step| step.starts_with("SEARCH")),
            "{table}.{column}: {plan:?}"
        );
    }
}

/// What a sender sends while somebody looks for it is found as well.
#[tokio::test(flavor = "multi_thread")]
async fn mids_of_a_deleted_sender_are_gone() {
    let world = World::new().await;
    join(&world.engine, "carol").await;
    world.send_to_bob(0..10).await;
    let sending = (10..1000).map(|number| {
        let to = if number < 20 { "bob" } else { "carol" };
        let message = SendMessage::new(to, "hello").mid(number.to_string());
        world.ann.call(message)
    });
    let user = "ann".into();
    // They are in the writer's queue before it is looked which there are.
    let sending = futures_util::future::join_all(sending);
    let (_, deleted) = tokio::join!(sending, world.engine.delete_user(&user));
    assert!(deleted.unwrap());
    let file = rusqlite::Connection::open(world.path()).unwrap();
    let columns = columns_with(&file, "ann");
    assert!(!columns.contains(&("mids".to_owned(), "sender".to_owned())));
}

/// The tables and columns that have this text in a row.
fn columns_with(file: &rusqlite::Connection, text: &str) -> BTreeSet<(String, String)> {
    let select = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                  WHERE t.type = 'table'";
    let mut select = file.prepare(select).unwrap();
    let columns = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let columns: Vec<(String, String)> = columns.unwrap().collect::<Result<_, _>>().unwrap();
    let has = |(table, column): &(String, String)| {
        let find = format!("SELECT 1 FROM {table} WHERE {column} = ?1");
        file.prepare(&find).unwrap().exists([text]).unwrap()
    };
    columns.into_iter().filter(has).collect()
}
