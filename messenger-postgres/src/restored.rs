//! Databases that are older copies of one that was lost.
//!
//! What the lost one gave after the copy was made is not in the copy, and clients remember its numbers: they would drop
//! new messages under the same ones as seen. So the numbers of all inboxes go on behind the microseconds since 1970,
//! when that was noticed. An inbox is not given a message each microsecond, so they are new, however often that is
//! done; and they stay below 2^53 until the year 2255.

use crate::calls::{Answer, Calls};
use crate::database::Database;
use crate::error::ConnectError;
use crate::identity::NAME_ANEW;
use crate::meters;
use crate::params::Params;
use crate::row::Columns;
use crate::store::PostgresStorage;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::storage::StorageError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Notes that the database is an older copy of one that was lost: numbers go on beyond any that the lost one can have
/// given. To be called before a server uses the copy. (A server that was running on the lost one notices by itself.)
///
/// # Errors
/// See [`ConnectError`].
///
/// # Cancel safety
/// Dropping the future leaves open whether numbers go on beyond, and whether the store has
/// [another name](PostgresStorage::id). Do it again before a server uses the copy: doing it twice does no harm.
pub async fn mark_restored(database: &Database) -> Result<(), ConnectError> {
    let storage = PostgresStorage::open(database).await?;
    let calls = storage.calls();
    let mark = async {
        calls.write(MARK, now()).await?;
        // The one that it is a copy of may live, and its servers must not hear these.
        calls.write(NAME_ANEW, Params::new()).await
    };
    mark.await.map(drop).map_err(ConnectError::prepare)
}

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
