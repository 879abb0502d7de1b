//! Whether a store has the tables of the version that it says it is of. No migration could go on from others.

use crate::{OpenError, format};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;

/// Refuses a store that lacks a table, a column or an index of its version, or has one of a later version.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    let found = format::user_version(connection).map_err(failed)?;
    if fits(connection, found).map_err(failed)? {
        return Ok(());
    }
    Err(OpenError::Misfit {
        path: path.to_owned(),
        found,
    })
}

fn fits(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    let Ok(version) = usize::try_from(version) else {
        return Ok(false);
    };
    let mut sound = Connection::open_in_memory()?;
    format::upgrade(&mut sound, version)?;
    let (needed, there) = (parts(&sound)?, parts(connection)?);
    format::upgrade(&mut sound, format::VERSION)?;
    // What later versions add is not there yet. (What an operator has added besides is not ours.)
    let mut later = parts(&sound)?
        .into_iter()
        .filter(|part| !needed.contains(part));
    Ok(needed.is_subset(&there) && !later.any(|part| there.contains(&part)))
}

/// The tables with their columns, and the indexes.
fn parts(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let mut select = connection.prepare(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table'
         UNION ALL
         SELECT tbl_name, 'index ' || name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
    )?;
    let parts = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    parts.collect()
}
