//! Where a store's file may lie, and when a new one is begun. (A file that is mounted by itself: `faults.rs` of the server.)

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_sqlite::{OpenError, SqliteStorage, back_up, check};
use std::fs;
use std::path::Path;

/// A store that was served and closed.
fn make(path: &Path) {
    drop(SqliteStorage::open(path).unwrap());
}

fn refused(path: &Path) -> OpenError {
    SqliteStorage::open(path).unwrap_err()
}

#[cfg(unix)]
#[test]
fn a_second_server_through_a_symbolic_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let first = SqliteStorage::open(&path).unwrap();
    let link = elsewhere.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let by_folder = elsewhere.path().join("folder");
    std::os::unix::fs::symlink(folder.path(), &by_folder).unwrap();
    for path in [&link, &by_folder.join("messenger.db")] {
        let error = refused(path);
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    }
    drop(first);
    let through_link = SqliteStorage::open(&link).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(through_link);
    make(&path);
}

#[test]
fn a_file_with_several_names_is_refused_under_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    let first = SqliteStorage::open(&path).unwrap();
    let link = folder.path().join("link.db");
    fs::hard_link(&path, &link).unwrap();
    let error = refused(&link);
    assert!(matches!(error, OpenError::Linked { .. }), "{error}");
    let error = SqliteStorage::open_beside(&link).unwrap_err();
    assert!(matches!(error, OpenError::Linked { .. }), "{error}");
    back_up(&link, &folder.path().join("copy.db")).unwrap_err();
    check(&link).unwrap_err();
    drop(first);
    let error = refused(&path);
    assert!(matches!(error, OpenError::Linked { .. }), "{error}");
    fs::remove_file(&link).unwrap();
    make(&path);
}

#[test]
fn no_store_is_begun_where_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    make(&path);
    let aside = folder.path().join("damaged");
    fs::rename(&path, &aside).unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Gone { .. }), "{error}");
    assert!(!path.exists(), "it was refused and made");
    fs::write(&path, "").unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Gone { .. }), "{error}");
    fs::remove_file(&path).unwrap();
    // What the sentence says does it: put it back, or remove what is left.
    fs::rename(&aside, &path).unwrap();
    make(&path);
    fs::rename(&path, &aside).unwrap();
    fs::remove_file(folder.path().join("messenger.db.lock")).unwrap();
    make(&path);
}

#[test]
fn a_log_without_its_store_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    for ending in ["-wal", "-journal"] {
        let log = folder.path().join(format!("messenger.db{ending}"));
        fs::write(&log, "messages").unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::Gone { .. }), "{error}");
        assert!(error.to_string().contains(ending), "{error}");
        fs::remove_file(&log).unwrap();
    }
    // An empty file is what SQLite would drop the log for, whoever opens it.
    let log = folder.path().join("messenger.db-wal");
    fs::write(&log, "messages").unwrap();
    fs::write(&path, "").unwrap();
    SqliteStorage::open(&path).unwrap_err();
    SqliteStorage::open_beside(&path).unwrap_err();
    check(&path).unwrap_err();
    back_up(&path, &folder.path().join("copy.db")).unwrap_err();
    assert_eq!(fs::read(&log).unwrap(), b"messages");
    fs::remove_file(&log).unwrap();
    fs::remove_file(&path).unwrap();
    make(&path);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_store_that_is_not_there_begins_none() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("messenger.db");
    let target = folder.path().join("not-mounted/messenger.db");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = refused(&link);
    assert!(matches!(error, OpenError::Gone { .. }), "{error}");
}

#[test]
fn an_empty_file_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messenger.db");
    fs::write(&path, "").unwrap();
    let error = refused(&path);
    assert!(matches!(error, OpenError::Empty { .. }), "{error}");
    refused(&path);
    fs::remove_file(&path).unwrap();
    // The marks of a store without a table, as a shell leaves them that failed to recover one.
    fs::remove_file(folder.path().join("messenger.db.lock")).unwrap();
    let shell = rusqlite::Connection::open(&path).unwrap();
    shell
        .execute_batch("PRAGMA user_version = 3; PRAGMA application_id = 0x6d736772")
        .unwrap();
    drop(shell);
    for _ in 0..2 {
        let error = refused(&path);
        assert!(matches!(error, OpenError::Empty { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    fs::remove_file(folder.path().join("messenger.db.lock")).unwrap();
    // But a server that was killed while it began a store goes on.
    fs::write(&path, "").unwrap();
    fs::write(folder.path().join("messenger.db.lock"), "").unwrap();
    make(&path);
    check(&path).unwrap();
}
