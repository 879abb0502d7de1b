//! Copying a store that may be in use, and saying that a store is a copy.

use crate::lock::Lock;
use crate::place::beside;
use crate::{BackupError, OpenError, file, format, moved, place, restored};
use rusqlite::Connection;
use std::fs::File;
use std::io;
use std::path::Path;

/// Copies a store to a new file, also while a server in this process or another one uses it. The copy
/// is the store as it was at one moment, and a store of its own. It blocks for as long as that takes.
///
/// The copy counts as [restored](mark_restored) when a server is first started on it. When it cannot be made,
/// nothing is left of it; while it is made, it is called `.partial`.
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
    let partial = beside(to, ".partial");
    // One that was killed may have left it.
    remove(&partial);
    let made = copy(&connection, &partial).map_err(|source| BackupError::Copy {
        path: to.to_owned(),
        source: source.into(),
    });
    let made = made.and_then(|()| {
        keep(&partial, to).map_err(|source| BackupError::Sync {
            path: to.to_owned(),
            source,
        })
    });
    if made.is_err() {
        remove(&partial);
    }
    made
}

fn copy(connection: &Connection, partial: &Path) -> rusqlite::Result<()> {
    file::make_private(partial);
    connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    format::mark_as_copy(partial)
}

/// Gives it its name once it is on the disk.
fn keep(partial: &Path, to: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Removes what there is of it.
fn remove(partial: &Path) {
    for path in [partial, &beside(partial, "-journal")] {
        let _ = std::fs::remove_file(path);
    }
}

/// Marks a store as an older copy of one that was lost. That is for copies that were not made by [`back_up`], whose copies
/// are marked already. No server may be using it.
///
/// The sequence numbers of all inboxes go on above any that the lost store can have given, so that no client takes a new
/// message for one it has seen. A store that was [moved](crate::TransferSource) elsewhere is one again, as it was then.
///
/// # Errors
/// See [`OpenError`].
pub fn mark_restored(store: &Path) -> Result<(), OpenError> {
    let path = &place::resolve(store)?;
    // Or one would be made.
    drop(file::open_for_copying(path)?);
    let _lock = Lock::take(path)?;
    let connection = file::open_even_if_moved(path, false)?;
    let jump = || {
        restored::jump(&connection)?;
        moved::unmark(&connection)
    };
    jump().map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    })
}
