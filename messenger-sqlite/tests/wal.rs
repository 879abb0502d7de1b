//! The log beside the file.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::time::{Duration, Instant};
use support::{engine, join, send};

/// So long it becomes, at the most, when nobody reads for long.
const USUAL: u64 = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grew_beside_a_reader_is_given_back_when_it_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let engine = engine(&path);
    let ann = join(&engine, "ann").await;
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM messages";
    reader.query_row(count, [], |_| Ok(())).unwrap();
    let length = || {
        let log = folder.path().join("messenger.db-wal");
        std::fs::metadata(log).unwrap().len()
    };
    for number in 0..500 {
        send(&ann, "ann", "x".repeat(60_000), number).await;
    }
    // Nobody is there and nothing more is written.
    drop(ann);
    assert!(length() > USUAL, "it cannot be given back while it is read");
    reader.execute_batch("COMMIT").unwrap();
    let begun = Instant::now();
    while length() > USUAL {
        assert!(begun.elapsed() < Duration::from_secs(60), "still there");
        tokio::task::yield_now().await;
    }
}
