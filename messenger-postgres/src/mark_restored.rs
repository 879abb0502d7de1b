//! An operator's word that a database is an older copy of one that was lost.

use crate::database::Database;
use crate::error::ConnectError;
use crate::identity::NAME_ANEW;
use crate::params::Params;
use crate::restored::{MARK, now};
use crate::store::PostgresStorage;

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
