//! The store keeps the promises of every store, and those of a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::storage::Storage;
use messenger_core::testing;
use messenger_sqlite::{OpenError, SqliteStorage};
use std::sync::Arc;

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
