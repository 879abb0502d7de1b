//! Users as an operator sees them.

use super::mids::{self, SentUnderMids};
use super::{accounts, contacts, sessions};
use crate::inboxes;
use crate::recent::Recent;
use crate::sql::{integer, user_number};
use crate::writer::Writing;
use messenger_core::proto::{ByteString, UserId};
use messenger_core::storage::{SessionKey, UserData};
use rusqlite::{Connection, Row, params};

/// What is kept of a user, by the table and the columns that name the user. Each has an index; [`mids`] has what has none.
const KEPT: [(&str, &str); 9] = [
    ("users", "login"),
    ("contacts", "owner"),
    ("contacts", "contact"),
    ("myids", "owner"),
    ("myids", "user"),
    ("sessions", "user"),
    ("inboxes", "user"),
    ("messages", "recipient"),
    ("mids", "recipient"),
];

pub(super) fn list(
    connection: &Connection,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let mut select = connection.prepare_cached(
        "SELECT login FROM users WHERE login > coalesce(?1, '') ORDER BY login LIMIT ?2",
    )?;
    let after = after.map(UserId::as_str);
    let users = select.query_map(params![after, integer(limit)], |row| {
        Ok(row.get::<_, String>(0)?.as_str().into())
    })?;
    users.collect()
}

pub(super) fn data(
    connection: &Connection,
    recent: &Recent,
    user: &UserId,
) -> rusqlite::Result<Option<UserData>> {
    let newest = recent.newest(user);
    // All of it as it was at one moment.
    let connection = &connection.unchecked_transaction()?;
    let Some(profile) = accounts::profile(connection, user)? else {
        return Ok(None);
    };
    let text = |row: &Row<'_>, index| row.get::<_, String>(index).map(ByteString::from);
    let remembered = all(
        connection,
        user,
        "SELECT user, myid FROM myids WHERE owner = ?1",
        |row| Ok((UserId::from(text(row, 0)?), text(row, 1)?)),
    )?;
    let sessions = all(
        connection,
        user,
        "SELECT number, given, ack, used_us, key FROM sessions JOIN users ON login = user
         WHERE user = ?1",
        |row| Ok((SessionKey(row.get(4)?), sessions::record(row)?)),
    )?;
    let data = UserData::new(profile)
        .has_account(accounts::account(connection, user.as_str())?.is_some())
        .contacts(contacts::list(connection, user)?)
        .remembered(remembered)
        .sessions(sessions)
        .newest(inboxes::newest(connection, newest, user)?);
    Ok(Some(data))
}

/// Forgets what names users who are not there, of a store that was damaged: it would be whose who comes under that name.
pub(crate) fn forget_strangers(connection: &Connection) -> rusqlite::Result<()> {
    for (table, column) in KEPT.into_iter().chain([("mids", "sender")]) {
        let delete = format!("DELETE FROM {table} WHERE {column} NOT IN (SELECT login FROM users)");
        connection.execute(&delete, [])?;
    }
    Ok(())
}

fn all<T>(
    connection: &Connection,
    user: &UserId,
    select: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut select = connection.prepare_cached(select)?;
    let rows = select.query_map([user.as_str()], |row| read(row))?;
    rows.collect()
}

pub(super) fn delete(
    writing: &mut Writing<'_>,
    user: &UserId,
    sent: &SentUnderMids,
) -> rusqlite::Result<bool> {
    let connection = writing.connection;
    let Some(number) = user_number(connection, user)? else {
        return Ok(false);
    };
    // Where there is an index.
    writing.inboxes.settle(connection)?;
    for (table, column) in KEPT {
        let delete = format!("DELETE FROM {table} WHERE {column} = ?1");
        connection.execute(&delete, [user.as_str()])?;
    }
    mids::forget_sender(connection, sent)?;
    writing.inboxes.forget_user(user, number);
    writing.wal.empty_soon();
    Ok(true)
}
