//! The file: its lock, its format, its connections.

use crate::{OpenError, restored};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Watermarks a SQLite file as a messenger store ("msgr").
const APPLICATION: i64 = 0x6d73_6772;

/// Watermarks a copy on which no server was started yet ("msgc"). Its numbers are those of the store it was made of.
const COPY: i64 = 0x6d73_6763;

/// What turns each format into the next; the first makes an empty file a store.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("about.sql"),
    include_str!("mids.sql"),
    include_str!("numbers.sql"),
];

/// How long a connection waits for a reader from outside, such as a backup.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statements a connection keeps prepared.
const STATEMENTS: usize = 64;

/// Held while the store is open, so that no second server opens it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Locks the store, through a file beside it.
pub(crate) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let failed = |source| OpenError::Lock {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(PathBuf::from(beside)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The connection that writes. Makes or upgrades the store.
pub(crate) fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    make_private(path);
    let mut connection = open_writable(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let made_ready = upgrade(&mut connection)
        .and_then(|()| restore(&mut connection))
        .and_then(|()| use_log(&connection));
    made_ready.map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })?;
    Ok(connection)
}

/// Makes the file readable to its owner only, before anything is in it. (SQLite gives the files beside
/// it the same rights.) When it cannot be made, opening it tells why.
pub(crate) fn make_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// A connection that writes beside a server.
pub(crate) fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    let connection = open_writable(path, OpenFlags::empty())?;
    let failed = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let version: i64 = number(&connection, "user_version").map_err(failed)?;
    if usize::try_from(version) != Ok(MIGRATIONS.len()) {
        return Err(OpenError::Older {
            path: path.to_owned(),
        });
    }
    // A copy stays one, and beside those there is never a log of their own.
    if number(&connection, "application_id").map_err(failed)? != COPY {
        use_log(&connection).map_err(failed)?;
    }
    Ok(connection)
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn open_writable(path: &Path, more: OpenFlags) -> Result<Connection, OpenError> {
    refuse_foreign_log(path)?;
    let failed = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    check_format(&connection, path)?;
    // SQLite falls back to reading, and would say so only at the first write.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    prepare(&connection).map_err(failed)?;
    Ok(connection)
}

/// A connection that reads.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        settle_in(&connection)?;
        Ok(connection)
    };
    open().map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })
}

/// A connection that copies a store which another process may be using.
pub(crate) fn open_for_copying(path: &Path) -> Result<Connection, OpenError> {
    refuse_foreign_log(path)?;
    let open = || {
        // A reader, too, writes to the file by which connections tell each other what they read.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    };
    let connection = open().map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })?;
    check_format(&connection, path)?;
    Ok(connection)
}

/// Says of a copy that it is one, until a server is started on it.
pub(crate) fn mark_as_copy(path: &Path) -> rusqlite::Result<()> {
    let copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    copy.pragma_update(None, "application_id", COPY)
}

/// A log beside a copy is of the store that was there before it: SQLite would take it for the copy's and write it
/// all over it. So nothing is opened. (That is why copies use no log, and why the file is read as it is.)
fn refuse_foreign_log(path: &Path) -> Result<(), OpenError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    if has_log && is_copy(path).unwrap_or(false) {
        return Err(OpenError::ForeignLog {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Reads it from the file as it is, without its log. SQLite does that: were the file opened and closed beside it, the
/// locks of all its connections in this process would be gone.
fn is_copy(path: &Path) -> rusqlite::Result<bool> {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let name: String = bytes.map(|byte| format!("%{byte:02x}")).collect();
    let uri = format!("file:{name}?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    Ok(number(&connection, "application_id")? == COPY)
}

fn check_format(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |pragma| {
        let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map_err(|source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        })
    };
    let (application, found) = (number("application_id")?, number("user_version")?);
    let tables = number("schema_version")?;
    if ![APPLICATION, COPY].contains(&application) && (application != 0 || tables != 0) {
        return Err(OpenError::NotOurs {
            path: path.to_owned(),
        });
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
}

/// What every connection of a running store needs.
fn settle_in(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Or a statement with a range in it is prepared anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    settle_in(connection)?;
    // A commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 64 MiB.
    connection.pragma_update(None, "cache_size", -65_536)
}

/// A log beside the file takes what is written, so that readers need not wait.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")
}

/// A copy becomes the store, whose numbers go on beyond those of the one that was lost.
fn restore(connection: &mut Connection) -> rusqlite::Result<()> {
    if number(connection, "application_id")? != COPY {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    restored::jump(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for (number, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        if number == 1 {
            transaction.pragma_update(None, "application_id", APPLICATION)?;
        }
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
