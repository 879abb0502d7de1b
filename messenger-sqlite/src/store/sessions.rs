//! Sessions and their places.

use super::inbox::{self, Inbox};
use super::{accounts, integer, refused, unsigned};
use crate::writer::Fault;
use messenger_core::clock::Timestamp;
use messenger_core::proto::UserId;
use messenger_core::storage::{
    Mark, NewSession, OpenSessionError, OpenedSession, SessionKey, SessionRecord,
};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn open(
    connection: &Connection,
    new: &NewSession,
) -> Result<OpenedSession, Fault<OpenSessionError>> {
    if !accounts::exists(connection, &new.user)? {
        return refused(OpenSessionError::NoSuchUser);
    }
    let user = new.user.as_str();
    let mut expired =
        connection.prepare_cached("DELETE FROM sessions WHERE user = ?1 AND used_us < ?2")?;
    expired.execute(params![user, integer(new.expired_before.as_micros())])?;
    let ended = least_recently_used(connection, &new.user, new.limit)?;
    for key in &ended {
        delete(connection, &new.user, key)?;
    }
    let mut inbox = inbox::load(connection, &new.user)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO sessions (user, key, given, ack, used_us) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let used = integer(new.now.as_micros());
    insert.execute(params![user, new.key.0, inbox.given, new.ack, used])?;
    note_given_to_all(connection, &new.user, &mut inbox)?;
    inbox::store(connection, &new.user, &inbox)?;
    Ok(OpenedSession {
        given: unsigned(inbox.given),
        ended,
    })
}

/// The sessions that must end to make room for one more.
fn least_recently_used(
    connection: &Connection,
    user: &UserId,
    limit: usize,
) -> rusqlite::Result<Vec<SessionKey>> {
    // All but the newest `limit - 1`.
    let mut select = connection.prepare_cached(
        "SELECT key FROM sessions WHERE user = ?1 ORDER BY used_us DESC LIMIT -1 OFFSET ?2",
    )?;
    let kept = integer(limit.saturating_sub(1));
    let keys = select.query_map(params![user.as_str(), kept], |row| {
        row.get(0).map(SessionKey)
    })?;
    let mut keys: Vec<_> = keys.collect::<rusqlite::Result<_>>()?;
    keys.reverse();
    Ok(keys)
}

pub(super) fn read(
    connection: &Connection,
    user: &UserId,
    key: &SessionKey,
) -> rusqlite::Result<Option<SessionRecord>> {
    let mut select = connection
        .prepare_cached("SELECT given, ack, used_us FROM sessions WHERE user = ?1 AND key = ?2")?;
    let record = select.query_row(params![user.as_str(), key.0], |row| {
        Ok(SessionRecord {
            given: unsigned(row.get(0)?),
            ack: row.get(1)?,
            used: Timestamp::from_micros(unsigned(row.get(2)?)),
        })
    });
    record.optional()
}

pub(super) fn end(
    connection: &Connection,
    user: &UserId,
    key: &SessionKey,
) -> rusqlite::Result<()> {
    delete(connection, user, key)?;
    // What was kept for it alone need not be kept any longer.
    let mut inbox = inbox::load(connection, user)?;
    note_given_to_all(connection, user, &mut inbox)?;
    inbox::store(connection, user, &inbox)
}

fn delete(connection: &Connection, user: &UserId, key: &SessionKey) -> rusqlite::Result<()> {
    let mut delete =
        connection.prepare_cached("DELETE FROM sessions WHERE user = ?1 AND key = ?2")?;
    delete.execute(params![user.as_str(), key.0]).map(drop)
}

pub(super) fn advance(connection: &Connection, marks: &[Mark]) -> rusqlite::Result<()> {
    for mark in marks {
        let Some(record) = read(connection, &mark.user, &mark.session)? else {
            continue;
        };
        let mut inbox = inbox::load(connection, &mark.user)?;
        let given = integer(record.given.max(mark.given)).min(inbox.newest);
        let used = integer(record.used.max(mark.used).as_micros());
        let mut update = connection.prepare_cached(
            "UPDATE sessions SET given = ?3, used_us = ?4 WHERE user = ?1 AND key = ?2",
        )?;
        update.execute(params![mark.user.as_str(), mark.session.0, given, used])?;
        if given > integer(record.given) {
            inbox::advance(connection, &mark.user, &mut inbox, given)?;
            note_given_to_all(connection, &mark.user, &mut inbox)?;
            inbox::prune(connection, &mark.user, &mut inbox)?;
            inbox::store(connection, &mark.user, &inbox)?;
        }
    }
    Ok(())
}

/// Works out what every session was given; without sessions, what any was.
pub(super) fn note_given_to_all(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached("SELECT min(given) FROM sessions WHERE user = ?1")?;
    let slowest: Option<i64> = select.query_row([user.as_str()], |row| row.get(0))?;
    inbox.given_to_all = slowest.unwrap_or(inbox.given);
    Ok(())
}
