//! The connections to the file.

use crate::{OpenError, fit, format, header, moved, restored, skeletons};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

/// How long a call waits for another process that keeps the file locked. Whoever comes while a call waits, waits for
/// that one and then as long: together it is less than the engine gives a call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a copy waits, for which nobody waits.
const COPY_PATIENCE: Duration = Duration::from_secs(5);

/// Statements a connection keeps prepared.
const STATEMENTS: usize = 64;

/// The connection that writes. Makes the store, if that may be, or upgrades it.
pub(crate) fn open_for_writing(path: &Path, may_begin: bool) -> Result<Connection, OpenError> {
    let connection = open_even_if_moved(path, may_begin)?;
    moved::check(&connection, path)?;
    Ok(connection)
}

/// The same, also of a store that was moved elsewhere.
pub(crate) fn open_even_if_moved(path: &Path, may_begin: bool) -> Result<Connection, OpenError> {
    make_private(path);
    header::check(path)?;
    let mut connection = open_writable(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    if !may_begin && !has_tables(&connection).map_err(failed)? {
        return Err(OpenError::Empty {
            path: path.to_owned(),
        });
    }
    fit::check(&connection, path)?;
    format::upgrade(&mut connection, format::VERSION).map_err(failed)?;
    skeletons::keep_up(&mut connection).map_err(failed)?;
    restore(&mut connection).map_err(failed)?;
    use_log(&connection).map_err(failed)?;
    Ok(connection)
}

pub(crate) fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    let mut select = connection.prepare("SELECT 1 FROM sqlite_schema")?;
    select.exists([])
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
    header::check(path)?;
    let connection = open_writable(path, OpenFlags::empty())?;
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    fit::check(&connection, path)?;
    if format::version(&connection).map_err(failed)? != format::VERSION {
        return Err(OpenError::Older {
            path: path.to_owned(),
        });
    }
    moved::check(&connection, path)?;
    // A copy stays one, and beside those there is never a log of their own.
    if !format::counts_as_copy(&connection).map_err(failed)? {
        use_log(&connection).map_err(failed)?;
    }
    Ok(connection)
}

fn open_writable(path: &Path, more: OpenFlags) -> Result<Connection, OpenError> {
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // SQLite falls back to reading, and would say so only at the first write.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    format::check(&connection, path)?;
    refuse_only_read(&connection, path)?;
    prepare(&mut connection).map_err(failed)?;
    Ok(connection)
}

/// Refuses what SQLite has found that it cannot write when it read from it.
fn refuse_only_read(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match connection.is_readonly("main") {
        Ok(true) => Err(OpenError::OnlyRead {
            path: path.to_owned(),
        }),
        // Writing it tells more.
        _ => Ok(()),
    }
}

/// A connection that reads.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        settle_in(&mut connection)?;
        Ok(connection)
    };
    open().map_err(|source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// A connection that copies a store which another process may be using.
pub(crate) fn open_for_copying(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        // A reader, too, writes to the file by which connections tell each other what they read.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(COPY_PATIENCE)?;
        Ok(connection)
    };
    header::check(path)?;
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    let connection = open().map_err(failed)?;
    format::check(&connection, path)?;
    if !has_tables(&connection).map_err(failed)? {
        return Err(OpenError::Empty {
            path: path.to_owned(),
        });
    }
    fit::check(&connection, path)?;
    Ok(connection)
}

/// What every connection of a running store needs.
fn settle_in(connection: &mut Connection) -> rusqlite::Result<()> {
    #[cfg(test)]
    crate::plans::record(connection)?;
    connection.busy_timeout(PATIENCE)?;
    // Or a statement with a range in it is prepared anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    settle_in(connection)?;
    // A commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is no longer in the file.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // 64 MiB.
    connection.pragma_update(None, "cache_size", -65_536)
}

/// A log beside the file takes what is written, so that readers need not wait.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")
}

/// A copy becomes the store, whose numbers go on beyond those of the one that was lost.
fn restore(connection: &mut Connection) -> rusqlite::Result<()> {
    if !format::counts_as_copy(connection)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    restored::jump(&transaction)?;
    transaction.pragma_update(None, "application_id", format::APPLICATION)?;
    transaction.commit()
}

/// True when the file is not what SQLite once wrote.
pub(crate) fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<rusqlite::Error>();
    matches!(
        error.and_then(rusqlite::Error::sqlite_error_code),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
