//! By what a store is told from others.

use crate::calls::Calls;
use crate::params::Params;
use crate::row::Columns;
use messenger_core::storage::StorageError;

/// The name of the store.
pub(crate) const SELECT: &str = "SELECT value FROM about WHERE name = 'id'";

/// Gives the store a name, unless it has one.
pub(crate) const NAME: &str =
    "INSERT INTO about (name, value) VALUES ('id', replace(gen_random_uuid()::text, '-', ''))
     ON CONFLICT DO NOTHING";

/// Gives the store another name: what goes on with the old one is another store.
pub(crate) const NAME_ANEW: &str =
    "UPDATE about SET value = replace(gen_random_uuid()::text, '-', '') WHERE name = 'id'";

pub(crate) async fn id(calls: &Calls) -> Result<String, StorageError> {
    let rows = calls.read(SELECT, Params::new()).await?;
    rows.first().map_or(Ok(String::new()), |row| row.text(0))
}
