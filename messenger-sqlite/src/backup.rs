//! Copying a store that may be in use.

use crate::{BackupError, file, place};
use std::fs::File;
use std::path::Path;

/// Copies a store to a new file, also while a server in this process or another one uses it. The copy
/// is the store as it was at one moment, and a store of its own. It blocks for as long as that takes.
///
/// # Errors
/// See [`BackupError`].
pub fn back_up(store: &Path, to: &Path) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists {
            path: to.to_owned(),
        });
    }
    let connection = file::open_for_copying(&place::resolve(store)?)?;
    file::make_private(to);
    let copied = connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]);
    copied.map_err(|source| BackupError::Copy {
        path: to.to_owned(),
        source: source.into(),
    })?;
    let synced = File::open(to).and_then(|copy| copy.sync_all());
    synced.map_err(|source| BackupError::Sync {
        path: to.to_owned(),
        source,
    })
}
