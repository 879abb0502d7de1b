//! Dropping what is out of date, a small step at a time.

use super::{inbox, integer, sessions};
use messenger_core::proto::UserId;
use messenger_core::storage::OutOfDate;
use rusqlite::{Connection, params};

/// How many rows of each kind a step takes, so that nobody waits long for it.
const STEP: i64 = 64;

/// One step. True when there may be more to do.
pub(super) fn step(connection: &Connection, old: &OutOfDate) -> rusqlite::Result<bool> {
    // Each at least once, whichever have more to do.
    let steps = [
        drop_sessions(connection, integer(old.sessions_before.as_micros()))?,
        drop_mids(connection, integer(old.mids_before.as_micros()))?,
        drop_messages(connection, integer(old.messages_before.as_secs()))?,
        prune(connection)?,
    ];
    Ok(steps.contains(&true))
}

fn drop_sessions(connection: &Connection, before: i64) -> rusqlite::Result<bool> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM sessions WHERE (user, key) IN
         (SELECT user, key FROM sessions WHERE used_us < ?1 LIMIT ?2) RETURNING user",
    )?;
    let users = delete.query_map([before, STEP], |row| row.get::<_, String>(0))?;
    let users: Vec<_> = users.collect::<rusqlite::Result<_>>()?;
    for user in &users {
        let user = UserId::from(user.as_str());
        let mut inbox = inbox::load(connection, &user)?;
        sessions::note_given_to_all(connection, &user, &mut inbox)?;
        inbox::store(connection, &user, &inbox)?;
    }
    Ok(integer(users.len()) == STEP)
}

fn drop_mids(connection: &Connection, before: i64) -> rusqlite::Result<bool> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM mids WHERE (sender, mid) IN
         (SELECT sender, mid FROM mids WHERE used_us < ?1 LIMIT ?2)",
    )?;
    Ok(integer(delete.execute(params![before, STEP])?) == STEP)
}

/// Drops messages accepted before this second.
fn drop_messages(connection: &Connection, before: i64) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached(
        "SELECT user FROM inboxes WHERE oldest <= newest AND oldest_time < ?1 LIMIT ?2",
    )?;
    let mut dropped = false;
    for user in &users(&mut select, params![before, STEP])? {
        let mut inbox = inbox::load(connection, user)?;
        let mut newest_old = connection.prepare_cached(
            "SELECT coalesce(max(seq), 0) FROM
             (SELECT seq, time FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT ?2)
             WHERE time < ?3",
        )?;
        let place: i64 =
            newest_old.query_row(params![user.as_str(), STEP, before], |row| row.get(0))?;
        if place >= inbox.oldest {
            inbox::drop_up_to(connection, user, &mut inbox, place)?;
            inbox::store(connection, user, &inbox)?;
            dropped = true;
        }
    }
    Ok(dropped)
}

/// Drops what every session was given.
fn prune(connection: &Connection) -> rusqlite::Result<bool> {
    let mut select = connection
        .prepare_cached("SELECT user FROM inboxes WHERE oldest <= given_to_all LIMIT 1")?;
    let users = users(&mut select, [])?;
    for user in &users {
        let mut inbox = inbox::load(connection, user)?;
        inbox::prune(connection, user, &mut inbox)?;
        inbox::store(connection, user, &inbox)?;
    }
    Ok(!users.is_empty())
}

fn users(
    select: &mut rusqlite::Statement<'_>,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<UserId>> {
    let users = select.query_map(parameters, |row| row.get::<_, String>(0).map(UserId::from))?;
    users.collect()
}
