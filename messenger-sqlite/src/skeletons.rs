//! What logins look like, computed anew when the tables for that have changed.

use messenger_core::lookalikes::{skeleton, version};
use rusqlite::{Connection, OptionalExtension, params};

/// How many users are changed in a transaction.
const PAGE: i64 = 1000;

/// Sees to it that all logins have their skeletons. One that was interrupted is done again.
pub(crate) fn keep_up(connection: &mut Connection) -> rusqlite::Result<()> {
    let select = "SELECT value FROM about WHERE name = 'skeletons'";
    let done: Option<String> = connection
        .query_row(select, [], |row| row.get(0))
        .optional()?;
    if done.as_deref() == Some(&version()) {
        return Ok(());
    }
    let mut after = String::new();
    while let Some(last) = compute_page(connection, &after)? {
        after = last;
    }
    let set = "INSERT INTO about (name, value) VALUES ('skeletons', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.execute(set, [version()]).map(drop)
}

/// Computes those of the logins behind `after`, and gives the last of them.
fn compute_page(connection: &mut Connection, after: &str) -> rusqlite::Result<Option<String>> {
    let transaction = connection.transaction()?;
    let mut select = transaction
        .prepare_cached("SELECT login FROM users WHERE login > ?1 ORDER BY login LIMIT ?2")?;
    let logins = select.query_map(params![after, PAGE], |row| row.get(0))?;
    let logins: Vec<String> = logins.collect::<Result<_, _>>()?;
    drop(select);
    let mut update =
        transaction.prepare_cached("UPDATE users SET skeleton = ?2 WHERE login = ?1")?;
    for login in &logins {
        update.execute([login.as_str(), &skeleton(login)])?;
    }
    drop(update);
    transaction.commit()?;
    Ok(logins.into_iter().next_back())
}
