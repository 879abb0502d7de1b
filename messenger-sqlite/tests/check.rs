//! A check tells what state a store is in, and leaves it so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

mod support;

use messenger_sqlite::{CheckError, OpenError, SqliteStorage, check};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use support::{engine, join, send};
use tempfile::TempDir;

/// A folder with a store that has something in it, and the same as a server that was killed would have left it.
struct World {
    folder: TempDir,
    killed: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("messenger.db");
        let engine = engine(&path);
        let ann = join(&engine, "ann").await;
        for number in 0..100 {
            send(&ann, "ann", "x".repeat(1000), number).await;
        }
        unchanged(folder.path(), || check(&path)).unwrap();
        let killed = tempfile::tempdir().unwrap();
        for name in ["messenger.db", "messenger.db-wal", "messenger.db.lock"] {
            fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        drop((ann, engine));
        let log = folder.path().join("messenger.db-wal");
        let begun = Instant::now();
        while log.exists() {
            // What the engine does in the background ends with it.
            assert!(begun.elapsed() < Duration::from_secs(60), "still open");
            tokio::task::yield_now().await;
        }
        Self { folder, killed }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("messenger.db")
    }

    /// Checks the store with other bytes.
    fn check_with(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), CheckError> {
        let mut bytes = fs::read(self.path()).unwrap();
        change(&mut bytes);
        fs::write(self.path(), bytes).unwrap();
        self.check()
    }

    fn check(&self) -> Result<(), CheckError> {
        unchanged(self.folder.path(), || check(&self.path()))
    }
}

type Files = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

/// All that is kept; not by which file connections tell each other what they read.
fn files(folder: &Path) -> Files {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let kept = paths.filter(|path| !path.to_string_lossy().ends_with("-shm"));
    let read = kept.map(|path| {
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), (fs::read(path).unwrap(), changed))
    });
    read.collect()
}

fn unchanged<T>(folder: &Path, act: impl FnOnce() -> T) -> T {
    let before = files(folder);
    let done = act();
    assert!(before == files(folder), "it was changed");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_is_sound_with_its_log_and_without() {
    let world = World::new().await;
    world.check().unwrap();
    let killed = world.killed.path();
    unchanged(killed, || check(&killed.join("messenger.db"))).unwrap();
    assert!(!killed.join("messenger.db-shm").exists());
    drop(SqliteStorage::open(killed.join("messenger.db")).unwrap());
    unchanged(killed, || check(&killed.join("messenger.db"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_none_is_told_from_a_store() {
    let world = World::new().await;
    let none = world.folder.path().join("none.db");
    let error = check(&none).unwrap_err();
    assert!(matches!(error, CheckError::Absent { .. }), "{error}");
    assert!(!none.exists());
    fs::write(&none, "").unwrap();
    let error = check(&none).unwrap_err();
    let is_empty = matches!(error, CheckError::Open(OpenError::Empty { .. }));
    assert!(is_empty, "{error}");
    let error = world.check_with(|bytes| bytes.truncate(0)).unwrap_err();
    let is_gone = matches!(error, CheckError::Open(OpenError::Gone { .. }));
    assert!(is_gone, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_store_is_told() {
    let world = World::new().await;
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let error = world.check_with(half).unwrap_err();
    let is_part = matches!(error, CheckError::Open(OpenError::Part { .. }));
    assert!(is_part, "{error}");
    // A server says the same.
    let error = SqliteStorage::open(world.path()).unwrap_err();
    assert!(matches!(error, OpenError::Part { .. }), "{error}");
    let begun = |bytes: &mut Vec<u8>| bytes.truncate(10);
    let error = world.check_with(begun).unwrap_err();
    assert!(matches!(error, CheckError::Damaged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_told() {
    let world = World::new().await;
    let damage = |bytes: &mut Vec<u8>| {
        // One that is in use: what is on no page any more is zeros.
        let text = [b'x'; 100];
        let used: Vec<_> = (4096..bytes.len())
            .step_by(4096)
            .filter(|page| {
                bytes[*page..page + 4096]
                    .windows(100)
                    .any(|part| part == text)
            })
            .collect();
        let middle = used[used.len() / 2];
        bytes[middle..middle + 4096].fill(0x5a);
    };
    let error = world.check_with(damage).unwrap_err();
    assert!(matches!(error, CheckError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("salvage"), "{error}");
}

/// A journal is what a program leaves that was interrupted, such as a shell that took the store out of its mode.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_beside_a_store_is_told_and_left() {
    let world = World::new().await;
    let copy = tempfile::tempdir().unwrap();
    let shell = rusqlite::Connection::open(world.path()).unwrap();
    shell.pragma_update(None, "journal_mode", "DELETE").unwrap();
    shell.pragma_update(None, "cache_size", 1).unwrap();
    shell
        .execute_batch("BEGIN; UPDATE messages SET body = 'half'; UPDATE users SET nick = 'half'")
        .unwrap();
    for name in ["messenger.db", "messenger.db-journal"] {
        fs::copy(world.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(shell);
    let path = copy.path().join("messenger.db");
    let error = unchanged(copy.path(), || check(&path)).unwrap_err();
    assert!(matches!(error, CheckError::Interrupted { .. }), "{error}");
    // The sentence can be followed.
    drop(SqliteStorage::open(&path).unwrap());
    check(&path).unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let halves = "SELECT count(*) FROM users WHERE nick = 'half'";
    let halves: i64 = file.query_row(halves, [], |row| row.get(0)).unwrap();
    assert_eq!(halves, 0);
}

/// What a server refuses to serve is not sound, and both say why in a sentence.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_no_server_could_serve_is_told() {
    let changes = [
        "PRAGMA user_version = -1",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 5; ALTER TABLE users RENAME COLUMN email TO mail",
        "DROP TABLE sessions",
        "DROP INDEX mids_by_age",
        "ALTER TABLE inboxes DROP COLUMN waiting",
    ];
    let world = World::new().await;
    let sound = fs::read(world.path()).unwrap();
    for change in changes {
        fs::write(world.path(), &sound).unwrap();
        let file = rusqlite::Connection::open(world.path()).unwrap();
        file.execute_batch(change).unwrap();
        file.close().unwrap();
        let told = world.check().unwrap_err();
        let is_misfit = matches!(told, CheckError::Open(OpenError::Misfit { .. }));
        assert!(is_misfit, "{change}: {told}");
        let error = SqliteStorage::open(world.path()).unwrap_err();
        assert_eq!(error.to_string(), told.to_string(), "{change}");
        assert!(std::error::Error::source(&error).is_none(), "{change}");
        let error = SqliteStorage::open_beside(world.path()).unwrap_err();
        assert_eq!(error.to_string(), told.to_string(), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_sqlite_would_only_read_is_told() {
    let world = World::new().await;
    let error = world.check_with(|bytes| bytes[18] = 3).unwrap_err();
    let is_only_read = matches!(error, CheckError::Open(OpenError::OnlyRead { .. }));
    assert!(is_only_read, "{error}");
    let error = SqliteStorage::open(world.path()).unwrap_err();
    assert!(matches!(error, OpenError::OnlyRead { .. }), "{error}");
}
