//! The keys by which users are found, computed anew.

use crate::writer::Writing;
use messenger_core::AddressRule;
use rusqlite::{Connection, OptionalExtension, params};

/// How many users are read, and then written, at once.
const PAGE: i64 = 500;

/// Addresses of a user, as they were written, and their keys.
pub(super) struct Keyed {
    login: String,
    email: String,
    phone: String,
    email_key: Option<String>,
    phone_key: Option<String>,
}

/// True when the keys were computed under this name.
pub(super) fn is_done(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let select = "SELECT value FROM about WHERE name = 'address rule'";
    let found: Option<String> = connection
        .query_row(select, [], |row| row.get(0))
        .optional()?;
    Ok(found.as_deref() == Some(name))
}

/// Computes the keys of the users behind `after`; of none when there are none. All are gone through, whoever has an address: so a
/// page has an end.
pub(super) fn compute(
    connection: &Connection,
    rule: &AddressRule,
    after: &str,
) -> rusqlite::Result<Vec<Keyed>> {
    let mut select = connection.prepare_cached(
        "SELECT login, email, phone FROM users WHERE login > ?1 ORDER BY login LIMIT ?2",
    )?;
    let users = select.query_map(params![after, PAGE], |row| {
        let (login, email, phone): (_, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Keyed {
            login,
            email_key: rule.email(&email),
            phone_key: rule.phone(&phone),
            email,
            phone,
        })
    })?;
    users.collect()
}

/// The login behind which the next page begins.
pub(super) fn last(page: &[Keyed]) -> Option<String> {
    page.last().map(|user| user.login.clone())
}

/// Stores the keys of addresses that are still the same.
pub(super) fn store(writing: &mut Writing<'_>, page: &[Keyed]) -> rusqlite::Result<()> {
    let mut update = writing.connection.prepare_cached(
        "UPDATE users SET email_key = ?4, phone_key = ?5 WHERE login = ?1 AND email = ?2 AND phone = ?3",
    )?;
    let with_address = |user: &&Keyed| !user.email.is_empty() || !user.phone.is_empty();
    for user in page.iter().filter(with_address) {
        update.execute(params![
            user.login,
            user.email,
            user.phone,
            user.email_key,
            user.phone_key
        ])?;
    }
    Ok(())
}

/// Remembers that all keys were computed under this name.
pub(super) fn set_done(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let set = "INSERT INTO about (name, value) VALUES ('address rule', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.execute(set, [name]).map(drop)
}
