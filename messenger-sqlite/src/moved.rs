//! Stores that were moved to a database. No server is started on one, or there would be two of it.

use crate::OpenError;
use crate::format;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// The version since which there is a place for the mark.
const SINCE: usize = 2;

/// Refuses a store that was moved.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let is_moved = mark_of(connection).map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    })?;
    match is_moved {
        None => Ok(()),
        Some(_) => Err(OpenError::Moved {
            path: path.to_owned(),
        }),
    }
}

/// By what the move is known, once there was one.
pub(crate) fn mark_of(connection: &Connection) -> rusqlite::Result<Option<String>> {
    if format::version(connection)? < SINCE {
        return Ok(None);
    }
    let select = "SELECT value FROM about WHERE name = 'moved'";
    let found = connection.query_row(select, [], |row| row.get(0));
    found.optional()
}

/// Marks it as moved. Who does it again is told the same.
pub(crate) fn mark(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row(
        "INSERT INTO about (name, value) VALUES ('moved', lower(hex(randomblob(16))))
         ON CONFLICT (name) DO UPDATE SET value = about.value RETURNING value",
        [],
        |row| row.get(0),
    )
}

pub(crate) fn unmark(connection: &Connection) -> rusqlite::Result<()> {
    let delete = "DELETE FROM about WHERE name = 'moved'";
    connection.execute(delete, []).map(drop)
}
