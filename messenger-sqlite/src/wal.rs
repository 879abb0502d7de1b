//! The log beside the file, which commits are written to.
//!
//! SQLite writes it from its beginning again once all of it was copied into the file. To write over what is there is what
//! syncs cost least for: nothing but the bytes themselves changes. So the log is kept as long as it usually gets, and
//! most of it is copied by a thread of its own (`checkpointer.rs`), while the writer goes on. The writer copies the rest,
//! between two commits.
//!
//! SQLite does not make it shorter again when somebody has read for long meanwhile, nor write over what was deleted before
//! something else needs the place. That is why it is emptied where little is written.

use crate::checkpointer::Checkpointer;
use crate::file::PATIENCE;
use crate::place::beside;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::debug;

/// After how many pages the thread copies what has come.
const COPIED_EVERY: i64 = 1024;

/// After how many pages it is written from its beginning again: 16 MiB. Each time costs the writer three syncs.
const RESTARTED_AT: i64 = 4 * COPIED_EVERY;

/// After how many pages the writer waits until it is copied: 64 MiB.
const LONGEST: i64 = 4 * RESTARTED_AT;

/// Bytes of a page in the log.
const PAGE: i64 = 4096 + 24;

/// How often it is emptied, unless it was written over meanwhile. What was deleted since is in it no more then, and a long
/// one is given back.
const EMPTIED_EVERY: Duration = Duration::from_secs(10);

/// How often that is tried while somebody reads in it. (An engine calls the store twice a second, whatever happens.)
const TRIED_EVERY: Duration = Duration::from_millis(500);

/// How long is waited for readers each time. Nothing is written meanwhile.
const READERS_PATIENCE: Duration = Duration::from_millis(10);

/// When the log is to be copied and emptied.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    checkpointer: Checkpointer,
    /// How many pages it had last.
    pages: i64,
    /// How many it had when the thread was asked to copy them.
    asked: i64,
    /// How often it was begun anew since it was looked whether it is to be emptied.
    restarts: u32,
    due: Instant,
}

impl Wal {
    /// The log of a store's file, on the connection that writes.
    pub(crate) fn of(
        store: &Path,
        connection: &Connection,
        checkpointer: Checkpointer,
    ) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", RESTARTED_AT * PAGE)?;
        Ok(Self {
            path: beside(store, "-wal"),
            checkpointer,
            pages: 0,
            asked: 0,
            restarts: 0,
            due: Instant::now() + EMPTIED_EVERY,
        })
    }

    /// It is to be emptied behind the transaction under way, or as soon after as can be: much that was deleted is in it.
    pub(crate) fn empty_soon(&mut self) {
        self.restarts = 0;
        self.due = Instant::now();
    }

    /// Copies and empties it when that is due. To be called between transactions.
    pub(crate) fn look(&mut self, connection: &Connection) {
        // When the disk fails, the next commit tells.
        if let Ok(checkpoint) = checkpoint(connection, How::Noop) {
            self.copy(connection, checkpoint.pages);
        }
        let now = Instant::now();
        if now < self.due {
            return;
        }
        // Between two restarts all of it was written over.
        let is_new = self.restarts >= 2;
        self.restarts = 0;
        let next = if is_new || self.is_empty() || empty(connection) {
            EMPTIED_EVERY
        } else {
            TRIED_EVERY
        };
        self.due = now + next;
    }

    fn copy(&mut self, connection: &Connection, pages: i64) {
        if pages < self.pages {
            self.restarts += 1;
            self.asked = 0;
        }
        self.pages = pages;
        let is_copied = self.checkpointer.has_copied();
        if is_copied && pages >= RESTARTED_AT {
            let _ = checkpoint(connection, How::Passive);
        } else if pages >= self.asked + COPIED_EVERY {
            self.asked = pages;
            match pages < LONGEST {
                true => self.checkpointer.copy(),
                false => drop(checkpoint(connection, How::Passive)),
            }
        }
    }

    fn is_empty(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|log| log.len() == 0)
    }
}

/// True when it was. Otherwise somebody reads in it, or the disk fails, which the next commit tells.
fn empty(connection: &Connection) -> bool {
    let empty = || {
        connection.busy_timeout(READERS_PATIENCE)?;
        let done = checkpoint(connection, How::Truncate);
        connection.busy_timeout(PATIENCE)?;
        done
    };
    empty().is_ok_and(|checkpoint| !checkpoint.is_busy)
}

/// What is done with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is looked at.
    Noop,
    /// What nobody reads in it is copied.
    Passive,
    /// All of it is copied, and it is empty then.
    Truncate,
}

/// What was done.
pub(crate) struct Checkpoint {
    /// Somebody reads in the log, or copies it.
    is_busy: bool,
    /// How many pages the log has.
    pages: i64,
}

/// Copies the log into the file.
pub(crate) fn checkpoint(connection: &Connection, how: How) -> rusqlite::Result<Checkpoint> {
    let mut pragma = connection.prepare_cached(match how {
        How::Noop => "PRAGMA wal_checkpoint(NOOP)",
        How::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        How::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    })?;
    let begun = Instant::now();
    let (is_busy, pages, copied): (bool, i64, i64) =
        pragma.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if how != How::Noop {
        let us = begun.elapsed().as_micros();
        debug!(?how, us, pages, copied, "checkpoint");
    }
    Ok(Checkpoint { is_busy, pages })
}
