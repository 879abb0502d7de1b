//! Whether a store is sound.

use crate::place::beside;
use crate::{CheckError, OpenError, file, place, untouched};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads all of a store and says whether it is sound, also while a server uses it. The store and its log stay as they
/// are. It blocks for as long as that takes.
///
/// # Errors
/// It is not, or there is none; see [`CheckError`].
pub fn check(store: &Path) -> Result<(), CheckError> {
    let path = &place::resolve(store)?;
    if !path.exists() {
        return Err(CheckError::Absent {
            path: path.to_owned(),
        });
    }
    let journal = beside(path, "-journal");
    if is_hot(&journal) {
        return Err(CheckError::Interrupted {
            path: path.to_owned(),
            journal,
        });
    }
    // With a log the file may be short, and is in use: SQLite's locks would be lost when it is closed here.
    if !beside(path, "-wal").exists() {
        refuse_part(path)?;
    }
    let fault = find_fault(path)?;
    // A server that began to write meanwhile may have been read by halves.
    let fault = match fault {
        Some(_) => find_fault(path)?,
        None => None,
    };
    match fault {
        None => Ok(()),
        Some(fault) => Err(CheckError::Damaged {
            path: path.to_owned(),
            fault,
        }),
    }
}

/// What SQLite finds first.
fn find_fault(path: &Path) -> Result<Option<String>, OpenError> {
    let failed = |source: rusqlite::Error| OpenError::Sqlite {
        path: path.to_owned(),
        source: source.into(),
    };
    let connection = untouched::open(path).map_err(failed)?;
    let looked = || {
        file::check_format(&connection, path)?;
        if !file::has_tables(&connection).map_err(failed)? {
            return Err(OpenError::Empty {
                path: path.to_owned(),
            });
        }
        let check = "PRAGMA integrity_check(1)";
        let found = connection.query_row(check, [], |row| row.get::<_, String>(0));
        found.map_err(failed)
    };
    match looked() {
        Ok(found) if found == "ok" => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(OpenError::Sqlite { source, .. }) if file::is_damage(&*source) => {
            Ok(Some(source.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// As SQLite decides it: a journal that is done with begins with zeros, where it is not removed.
fn is_hot(journal: &Path) -> bool {
    let mut first = [0];
    let read = File::open(journal).and_then(|mut journal| journal.read_exact(&mut first));
    read.is_ok() && first != [0]
}

/// Refuses a file that is shorter than its first page says, as one is that was not copied whole.
fn refuse_part(path: &Path) -> Result<(), CheckError> {
    let mut start = Vec::new();
    let Ok(length) = File::open(path).and_then(|file| {
        file.take(100).read_to_end(&mut start)?;
        std::fs::metadata(path)
    }) else {
        // Opening it tells why.
        return Ok(());
    };
    let Some(expected) = expected_length(&start) else {
        return Ok(());
    };
    if length.len() < expected {
        return Err(CheckError::Part {
            path: path.to_owned(),
            found: length.len(),
            expected,
        });
    }
    Ok(())
}

/// What SQLite's header says: pages of so many bytes, so many of them.
fn expected_length(header: &[u8]) -> Option<u64> {
    header.strip_prefix(b"SQLite format 3\0")?;
    let page = header
        .get(16..18)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)?;
    let pages = header
        .get(28..32)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)?;
    let page = if page == 1 { 65_536 } else { u64::from(page) };
    Some(page * u64::from(pages))
}
