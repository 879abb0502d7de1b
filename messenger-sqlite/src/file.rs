//! The file: its lock, its format, its connections.

use crate::OpenError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Watermarks a SQLite file as a messenger store ("msgr").
const APPLICATION: i64 = 0x6d73_6772;

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
    upgrade(&mut connection).map_err(|source| OpenError::Sqlite {
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
    let version: Result<i64, _> =
        connection.pragma_query_value(None, "user_version", |row| row.get(0));
    match version {
        Ok(version) if usize::try_from(version) == Ok(MIGRATIONS.len()) => Ok(connection),
        Ok(_) => Err(OpenError::Older {
            path: path.to_owned(),
        }),
        Err(source) => Err(OpenError::Sqlite {
            path: path.to_owned(),
            source,
        }),
    }
}

fn open_writable(path: &Path, more: OpenFlags) -> Result<Connection, OpenError> {
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
    if application != APPLICATION && (application != 0 || tables != 0) {
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
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 64 MiB.
    connection.pragma_update(None, "cache_size", -65_536)
}

fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    for (number, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
