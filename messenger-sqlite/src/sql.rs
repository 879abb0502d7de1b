//! What calls share: numbers as SQLite has them, and who is a user.

use messenger_core::proto::UserId;
use rusqlite::Connection;

/// A number for SQLite, which has no larger ones.
pub(crate) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A number from SQLite, which this store never makes negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// True when there is such a user.
pub(crate) fn exists(connection: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached("SELECT 1 FROM users WHERE login = ?1")?;
    select.exists([user.as_str()])
}
