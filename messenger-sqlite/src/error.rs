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
    /// It has other names, hard links.
    #[error("{} has other names (hard links), through which what SQLite keeps beside it is not found; remove those, or serve a copy", path.display())]
    Linked {
        /// The store's file.
        path: PathBuf,
    },
    /// It is mounted alone, without the files beside it.
    #[error("{} is mounted by itself, as a container's volume may be: the log that SQLite keeps beside it would stay behind, with messages in it; mount the folder that it is in", path.display())]
    Mounted {
        /// The store's file.
        path: PathBuf,
    },
    /// There was a store, and it is gone.
    #[error("nothing is in {}, but {} is left of a store; put that back, restore a backup, or remove {} to begin a new one", path.display(), trace.display(), trace.display())]
    Gone {
        /// Where the store was.
        path: PathBuf,
        /// What tells that there was one: its log, its lock file, or a symbolic link to it.
        trace: PathBuf,
    },
    /// There is a file, and nothing in it.
    #[error("{} is empty; put back what was to be in it, restore a backup, or remove it to begin a new store", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A part of it is not there.
    #[error("{} is a part of a store, {found} bytes of {expected}; copy it again, restore a backup, or save what can be read: messenger-server salvage NEW.db --store sqlite:{}", path.display(), path.display())]
    Part {
        /// The store's file.
        path: PathBuf,
        /// How long it is, in bytes.
        found: u64,
        /// How long it says it is, in bytes.
        expected: u64,
    },
    /// Its header asks for a way of writing that SQLite does not know.
    #[error("{} can be read and not be written, as its header asks for what SQLite does not know; restore a backup, or save what is in it: messenger-server salvage NEW.db --store sqlite:{}", path.display(), path.display())]
    OnlyRead {
        /// The store's file.
        path: PathBuf,
    },
    /// It lacks something of the version that it says it is of.
    #[error("{} is no store of version {found}, as it says it is: tables, columns or indexes are missing, or should not be there yet; set the right version if somebody has changed it (PRAGMA user_version), or restore a backup", path.display())]
    Misfit {
        /// The store's file.
        path: PathBuf,
        /// The version that it says it is of.
        found: i64,
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
    /// All that is in it was moved to a database.
    #[error("{} was moved to a database, on which its users may be now; to go on with the file nevertheless, as with an older copy: messenger-server restored --store sqlite:{}", path.display(), path.display())]
    Moved {
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
    /// It is a store but for the marks in its first page, which a shell's `.dump` leaves out.
    #[error("{} has the tables of a store without its marks, as what .dump of sqlite3 has written; if all of it is there, set them: sqlite3 {} 'PRAGMA application_id = {application}; PRAGMA user_version = {version}' (or what PRAGMA user_version told of the store it was written from)", path.display(), path.display())]
    Unmarked {
        /// The file.
        path: PathBuf,
        /// The mark of a store.
        application: i64,
        /// The mark of a store that is up to date.
        version: usize,
    },
    /// It cannot be read or written.
    #[error("cannot open {}; is it a sound SQLite file that may be written to?", path.display())]
    Sqlite {
        /// The store's file.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn std::error::Error + Send + Sync>,
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
    /// There is none.
    #[error("there is no store at {}; a server would begin one", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// A program other than a server wrote to it and was interrupted.
    #[error("{} was being written by something that was interrupted: {} has what it was before; keep the two together, start a server, which puts it back, and check again", path.display(), journal.display())]
    Interrupted {
        /// The store's file.
        path: PathBuf,
        /// SQLite's journal beside it.
        journal: PathBuf,
    },
    /// It is damaged.
    #[error("{} is damaged ({fault}); restore a backup, or save what can be read: messenger-server salvage NEW.db --store sqlite:{}", path.display(), path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What SQLite found first.
        fault: String,
    },
}

/// Why nothing was saved of a damaged store, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// The damaged store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file already where the new store was to be.
    #[error("{} is there already; give another path", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Where everything begins is damaged, or no user is left.
    #[error("no user can be read in {}; restore a backup", path.display())]
    Nothing {
        /// The damaged store's file.
        path: PathBuf,
    },
    /// The new store could not be written.
    #[error("cannot save to {}; is there room, and may it be written to?", path.display())]
    Write {
        /// Where the new store was to be.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The new store may not be on the disk.
    #[error("cannot tell whether {} has reached the disk", path.display())]
    Sync {
        /// The new store.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
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
        source: Box<dyn std::error::Error + Send + Sync>,
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
                "the store's file is damaged: stop the server and start it on a backup, or on what can be saved (messenger-server salvage)"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program keeps the store's file locked: end it"
            }
            _ => "the store's file could not be used",
        };
        Self { advice, source }
    }
}
