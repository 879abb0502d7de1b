//! Whether a store is sound.

use crate::{CheckError, OpenError, file, place};
use std::path::Path;

/// Reads all of a store and says whether it is sound, also while a server uses it. It blocks for as
/// long as that takes.
///
/// # Errors
/// It is not; see [`CheckError`].
pub fn check(store: &Path) -> Result<(), CheckError> {
    let connection = file::open_for_copying(&place::resolve(store)?)?;
    let found = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    let found: String = found.map_err(|source| OpenError::Sqlite {
        path: store.to_owned(),
        source: source.into(),
    })?;
    if found == "ok" {
        return Ok(());
    }
    Err(CheckError::Damaged {
        path: store.to_owned(),
        fault: found,
    })
}
