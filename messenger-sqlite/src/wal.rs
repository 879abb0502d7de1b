//! The log beside the file, which the writer empties.
//!
//! SQLite copies it into the file at 4 MiB and then writes it from its beginning again. It does not make it shorter
//! again when somebody has read for long meanwhile, nor write over what was deleted before something else needs the place.

use crate::file::PATIENCE;
use crate::place::beside;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is emptied. What was deleted since is in it no more then, and a long one is given back.
const EMPTIED_EVERY: Duration = Duration::from_secs(10);

/// How often that is tried while somebody reads in it. (An engine calls the store twice a second, whatever happens.)
const TRIED_EVERY: Duration = Duration::from_millis(500);

/// How long is waited for readers each time. Nothing is written meanwhile.
const READERS_PATIENCE: Duration = Duration::from_millis(10);

/// When the log is to be emptied.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    due: Instant,
}

impl Wal {
    /// The log of a store's file.
    pub(crate) fn of(store: &Path) -> Self {
        Self {
            path: beside(store, "-wal"),
            due: Instant::now() + EMPTIED_EVERY,
        }
    }

    /// It is to be emptied behind the transaction under way, or as soon after as can be: much that was deleted is in it.
    pub(crate) fn empty_soon(&mut self) {
        self.due = Instant::now();
    }

    /// Empties it when that is due. To be called between transactions.
    pub(crate) fn look(&mut self, connection: &Connection) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        let is_empty = fs::metadata(&self.path).is_ok_and(|log| log.len() == 0);
        let next = if is_empty || empty(connection) {
            EMPTIED_EVERY
        } else {
            TRIED_EVERY
        };
        self.due = now + next;
    }
}

/// True when it was. Otherwise somebody reads in it, or the disk fails, which the next commit tells.
fn empty(connection: &Connection) -> bool {
    let empty = || {
        connection.busy_timeout(READERS_PATIENCE)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        connection.busy_timeout(PATIENCE)?;
        busy
    };
    matches!(empty(), Ok(0))
}
