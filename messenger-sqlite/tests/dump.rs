//! A store that went through a shell's `.dump`.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod support;

use messenger_core::proto::Auth;
use messenger_sqlite::{OpenError, SqliteStorage, check};
use rusqlite::Connection;
use support::{engine, join, send};

/// Tables, rows and indices, as `.dump` writes them: but for SQLite's own, which come into being with others.
const SCHEMA: &str = "SELECT sql FROM old.sqlite_schema
                      WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type <> 'table'";

#[tokio::test]
async fn the_sentence_about_a_dump_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let first = engine(&path);
    let ann = join(&first, "ann").await;
    send(&ann, "ann", "a note".to_owned(), 1).await;
    let dumped = folder.path().join("dumped.db");
    let dump = Connection::open(&dumped).unwrap();
    dump.execute("ATTACH ?1 AS old", [path.to_str().unwrap()])
        .unwrap();
    let strings = |select: &str| {
        let mut select = dump.prepare(select).unwrap();
        let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    for sql in strings(SCHEMA) {
        dump.execute_batch(&sql).unwrap();
    }
    for table in strings("SELECT name FROM old.sqlite_schema WHERE type = 'table'") {
        let copy =
            format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM old.{table}");
        dump.execute_batch(&copy).unwrap();
    }
    drop(dump);

    let error = SqliteStorage::open(&dumped).unwrap_err();
    assert!(matches!(error, OpenError::Unmarked { .. }), "{error}");
    check(&dumped).unwrap_err();
    let sentence = error.to_string();
    let marks = sentence.split('\'').nth(1).unwrap();
    assert!(marks.contains("application_id") && marks.contains("user_version"));
    let shell = Connection::open(&dumped).unwrap();
    shell.execute_batch(marks).unwrap();
    drop(shell);
    check(&dumped).unwrap();
    let mut again = engine(&dumped).connect();
    again.call(Auth::new("ann", "secret")).await.unwrap();
    let event = again.next_message().await.unwrap();
    assert_eq!(event.message.body.as_str(), "a note");
}
