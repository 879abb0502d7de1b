//! What calls share: numbers as SQLite has them, and who is a user.

use messenger_core::proto::UserId;
use messenger_core::storage::{Owner, UserNumber};
use rusqlite::{Connection, OptionalExtension, params};

/// A number for SQLite, which has no larger ones.
pub(crate) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A number from SQLite, which this store never makes negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// Which of those who have had this login the user is; `None` when there is no such user.
pub(crate) fn user_number(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<UserNumber>> {
    let mut select = connection.prepare_cached("SELECT number FROM users WHERE login = ?1")?;
    let number = select.query_row([user.as_str()], |row| row.get(0));
    Ok(number.optional()?.map(unsigned).map(UserNumber))
}

/// True while the owner has not been deleted.
pub(crate) fn is_there(connection: &Connection, owner: &Owner) -> rusqlite::Result<bool> {
    Ok(user_number(connection, &owner.user)? == Some(owner.number))
}

/// True while there is a user of this number.
pub(crate) fn is_number_there(
    connection: &Connection,
    UserNumber(number): UserNumber,
) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached("SELECT 1 FROM users WHERE number = ?1")?;
    select.exists(params![integer(number)])
}
