//! Reading a store that is left as it is, to the byte, whatever state it is in and whoever uses it.

use crate::file::PATIENCE;
use crate::format;
use crate::place::beside;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// A connection that reads all that was committed, and leaves file and log as they are.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = if beside(path, "-wal").exists() {
        open_with_log(path)?
    } else {
        // Nobody uses it, or there would be a log; SQLite would make one.
        format::open_alone(path)?
    };
    // A page that is damaged is told, rather than what may be read in it.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// A server uses it, or one has been killed.
fn open_with_log(path: &Path) -> rusqlite::Result<Connection> {
    // A reader, too, writes to the file by which connections tell each other what they read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // Or whoever is last would copy the log into the file and remove it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if !beside(path, "-shm").exists() {
        // Nobody is there to be told, and the file would stay.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}
