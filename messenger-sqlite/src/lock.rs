//! The lock file beside a store. It keeps a second server out, and stays when the store is gone: then it tells that
//! there was one, and no empty store is begun in its place without a word.

use crate::OpenError;
use crate::place::{beside, is_empty};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

/// What stands in the lock file once a store was made.
const NOTE: &str = "There is a store beside this file. Should it be gone, no new one is begun until this file is removed.\n";

/// Held while the store is open, so that no second server opens it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    may_begin: bool,
}

impl Lock {
    /// Locks the store.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let name = beside(path, ".lock");
        let failed = |source| OpenError::Lock {
            path: path.to_owned(),
            source,
        };
        let was_there = name.exists();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let is_noted = !is_empty(&name);
        // A lock file without a note is of somebody who was interrupted when about to begin.
        let may_begin = !path.exists() || (was_there && !is_noted);
        let mut lock = Self { file, may_begin };
        if !may_begin {
            // Or the next one would be taken for interrupted.
            lock.note();
        }
        Ok(lock)
    }

    /// True when no store was ever made here.
    pub(crate) fn may_begin(&self) -> bool {
        self.may_begin
    }

    /// Notes that there is a store.
    pub(crate) fn note(&mut self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // A disk that is full keeps no server from starting.
            let _ = self.file.write_all(NOTE.as_bytes());
        }
    }
}

/// Keeps servers out of a store that is read, if there is a lock file; none is made.
pub(crate) fn take_if_there(path: &Path) -> Result<Option<File>, OpenError> {
    let Ok(file) = File::open(beside(path, ".lock")) else {
        return Ok(None);
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        _ => Ok(Some(file)),
    }
}
