//! Why a store could not be opened.

use rusqlite::ErrorCode;
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
    /// It cannot be written.
    #[error("{} may only be read; check its owner and how its disk is mounted", path.display())]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
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
    /// An older version of this program has written it, and only a server brings it up to date.
    #[error("{} is not a store yet, or of an older version; start a server on it first", path.display())]
    Older {
        /// The store's file.
        path: PathBuf,
    },
    /// It is a SQLite file of something else.
    #[error("{} is not a messenger store; give another path", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// It is a copy, and beside it lies the log of the store that it has replaced.
    #[error("{0}-wal is of the store that was there before {0} was put in its place; remove {0}-wal and {0}-shm", path.display())]
    ForeignLog {
        /// The copy.
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

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is damaged.
    #[error("{} is damaged ({fault}); restore a backup, or let sqlite3 recover what it can", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What SQLite found first.
        fault: String,
    },
}

/// Why a store could not be backed up, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file already where the copy was to be.
    #[error("{} is there already; give another path", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The copy could not be made; there is nothing of it.
    #[error("cannot copy the store to {}; is there room, and may it be written to?", path.display())]
    Copy {
        /// Where the copy was to be.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The copy may not be on the disk, or not under its name.
    #[error("cannot tell whether {} has reached the disk; make another copy", path.display())]
    Sync {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a call failed, with what an operator can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
pub(crate) struct CallError {
    advice: &'static str,
    source: rusqlite::Error,
}

impl From<rusqlite::Error> for CallError {
    fn from(source: rusqlite::Error) -> Self {
        let advice = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "the store's disk is full: make room there",
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                "the store's file may not be written to: check its owner and how its disk is mounted"
            }
            Some(ErrorCode::SystemIoFailure) => {
                "the store's disk fails: check that it is there, writable and sound (dmesg)"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "the store's file is damaged: stop the server and start it on a backup"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program keeps the store's file locked: end it"
            }
            _ => "the store's file could not be used",
        };
        Self { advice, source }
    }
}
