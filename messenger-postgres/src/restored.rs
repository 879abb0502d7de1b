//! Databases that are older copies of one that was lost.
//!
//! What the lost one gave after the copy was made is not in the copy, and clients remember its numbers: they would drop
//! new messages under the same ones as seen. So the numbers of all inboxes go on behind the microseconds since 1970,
//! when the copy was restored. An inbox is not given a message each microsecond, so they are new, however often that is
//! done; and they stay below 2^53 until the year 2255.

use crate::calls::Calls;
use crate::database::Database;
use crate::error::ConnectError;
use crate::identity::NAME_ANEW;
use crate::params::Params;
use crate::row::Columns;
use crate::store::PostgresStorage;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::storage::StorageError;

/// Notes that the database is an older copy of one that was lost: numbers go on beyond any that the lost one can have
/// given. To be called before a server uses the copy.
///
/// # Errors
/// See [`ConnectError`].
pub async fn mark_restored(database: &Database) -> Result<(), ConnectError> {
    let storage = PostgresStorage::open(database).await?;
    jump(storage.calls()).await.map_err(ConnectError::prepare)
}

async fn jump(calls: &Calls) -> Result<(), StorageError> {
    let number = SystemClock.now().as_micros().max(lost_up_to(calls).await?);
    let set = "INSERT INTO about (name, value) VALUES ('lost up to', $1::bigint::text)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    calls.write(set, Params::new().number(number)).await?;
    // The one that it is a copy of may live, and its servers must not hear these.
    calls.write(NAME_ANEW, Params::new()).await.map(drop)
}

/// Up to where numbers may have been given by a database that was lost.
pub(crate) async fn lost_up_to(calls: &Calls) -> Result<u64, StorageError> {
    let select = "SELECT value::bigint FROM about WHERE name = 'lost up to'";
    let rows = calls.read(select, Params::new()).await?;
    rows.first().map_or(Ok(0), |row| row.number(0))
}
