//! SQLite reads nothing of a file that is shorter than it says it is. So a copy is read that is as long.

use crate::SalvageError;
use crate::file;
use crate::header::Header;
use crate::place::beside;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A copy of a store that was cut off, with zeros for what is missing. It is gone when this is dropped.
pub(super) struct Whole(PathBuf);

impl Whole {
    /// Nothing, when nothing is missing. Otherwise the copy lies beside the new store while that is made.
    pub(super) fn of(damaged: &Path, to: &Path) -> Result<Option<Self>, SalvageError> {
        let (Some(header), Ok(damaged_file)) = (Header::read(damaged), damaged.metadata()) else {
            return Ok(None);
        };
        if damaged_file.len() >= header.length() {
            return Ok(None);
        }
        let whole = Self(beside(to, ".partial"));
        let made = whole.make(damaged, header.length());
        made.map_err(|source| SalvageError::Write {
            path: to.to_owned(),
            source: source.into(),
        })?;
        Ok(Some(whole))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn make(&self, damaged: &Path, length: u64) -> io::Result<()> {
        // One that was killed may have left it.
        self.remove();
        file::make_private(&self.0);
        fs::copy(damaged, &self.0)?;
        // Zeros that nobody has written take no room.
        OpenOptions::new()
            .write(true)
            .open(&self.0)?
            .set_len(length)?;
        let log = beside(damaged, "-wal");
        if log.exists() {
            fs::copy(log, beside(&self.0, "-wal"))?;
        }
        Ok(())
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&self.0, ending));
        }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.remove();
    }
}
