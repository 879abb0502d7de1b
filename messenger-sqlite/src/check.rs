//! Whether a store is sound.

use crate::place::beside;
use crate::{CheckError, OpenError, arrivals, file, fit, format, header, moved, place, untouched};
use rusqlite::Connection;
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
    header::check(path)?;
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
        format::check(&connection, path)?;
        if !file::has_tables(&connection).map_err(failed)? {
            return Err(OpenError::Empty {
                path: path.to_owned(),
            });
        }
        let check = "PRAGMA integrity_check(1)";
        let found = connection.query_row(check, [], |row| row.get::<_, String>(0));
        let found = found.map_err(failed)?;
        if found == "ok" {
            fit::check(&connection, path)?;
            moved::check(&connection, path)?;
            if has_unreadable_arrivals(&connection).map_err(failed)? {
                return Ok("a row of arrivals holds no messages".to_owned());
            }
        }
        Ok(found)
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

/// True when a text in which messages lie is not what was written, which SQLite does not know.
fn has_unreadable_arrivals(connection: &Connection) -> rusqlite::Result<bool> {
    if format::version(connection)? < arrivals::SINCE {
        return Ok(false);
    }
    Ok(!arrivals::unreadable(connection)?.is_empty())
}

/// As SQLite decides it: a journal that is done with begins with zeros, where it is not removed.
fn is_hot(journal: &Path) -> bool {
    let mut first = [0];
    let read = File::open(journal).and_then(|mut journal| journal.read_exact(&mut first));
    read.is_ok() && first != [0]
}
