//! Why a store could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a store could not be opened, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another server; stop that one first", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The lock file beside it could not be made.
    #[error("cannot write beside {}; does its folder exist, and may it be written to?", path.display())]
    Lock {
        /// The store's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer version of this program has written it.
    #[error("{} was written by a newer version (its format is {found}, this program knows up to {known}); run the newer program", path.display())]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// It is a SQLite file of something else.
    #[error("{} is not a messenger store; give another path", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot open {}; is it a sound SQLite file that may be written to?", path.display())]
    Sqlite {
        /// The store's file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[from] io::Error),
}
