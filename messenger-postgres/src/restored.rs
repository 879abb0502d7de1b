//! Databases that are older copies of one that was lost.
//!
//! What the lost one gave after the copy was made is not in the copy, and clients remember its numbers: they would drop
//! new messages under the same ones as seen. So the numbers of all inboxes go on behind the microseconds since 1970,
//! when that was noticed. An inbox is not given a message each microsecond, so they are new, however often that is
//! done; and they stay below 2^53 until the year 2255.

use crate::calls::{Answer, Calls};
use crate::meters;
use crate::params::Params;
use crate::row::Columns;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::storage::StorageError;
use std::sync::atomic::{AtomicU64, Ordering};

/// A second more than at the last time, should the clock have been set back since.
pub(crate) const MARK: &str =
    "INSERT INTO about (name, value) VALUES ('lost up to', $1::bigint::text)
    ON CONFLICT (name) DO UPDATE
    SET value = greatest(excluded.value::bigint, about.value::bigint + 1000000)::text
    RETURNING value::bigint";

pub(crate) fn now() -> Params<'static> {
    Params::new().time(SystemClock.now())
}

/// Up to where numbers may have been given by a database that was lost.
#[derive(Debug, Default)]
pub(crate) struct LostUpTo(AtomicU64);

impl LostUpTo {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) async fn read(&self, calls: &Calls) -> Result<(), StorageError> {
        let select = "SELECT value::bigint FROM about WHERE name = 'lost up to'";
        let rows = calls.read(select, Params::new()).await?;
        if let Some(row) = rows.first() {
            self.0.fetch_max(row.number(0)?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The database was found to have lost what it had stored, and this is the answer to [`MARK`].
    pub(crate) fn lost(&self, marked: &Answer) -> Result<(), StorageError> {
        meters::losses().increment(1);
        tracing::error!(
            "the PostgreSQL database has lost messages that it had stored, as after a failover to a standby that was \
             behind, or as an older copy; inboxes go on under new numbers"
        );
        if let Some(row) = marked.first() {
            self.0.fetch_max(row.number(0)?, Ordering::Relaxed);
        }
        Ok(())
    }
}
