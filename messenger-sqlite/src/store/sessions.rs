//! Sessions and their watermarks.

use super::inbox;
use crate::fault::{Fault, refused};
use crate::inboxes::Inbox;
use crate::sql::{integer, unsigned};
use crate::writer::Writing;
use messenger_core::clock::Timestamp;
use messenger_core::proto::UserId;
use messenger_core::storage::{
    Look, NewSession, OpenSessionError, OpenedSession, ResumedSession, SessionKey, SessionRecord,
    UserNumber, Watermark,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How many sessions tell when the store was used last.
const LOOKED_AT: i64 = 50_000;

pub(super) fn open(
    writing: &mut Writing<'_>,
    new: &NewSession,
) -> Result<OpenedSession, Fault<OpenSessionError>> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    let owner = &new.owner.user;
    let inbox = inboxes.of(connection, owner)?;
    let Some(inbox) = inbox.filter(|inbox| inbox.owner == new.owner.number) else {
        return refused(OpenSessionError::NoSuchUser);
    };
    let user = owner.as_str();
    let mut expired =
        connection.prepare_cached("DELETE FROM sessions WHERE user = ?1 AND used_us < ?2")?;
    expired.execute(params![user, integer(new.expired_before.as_micros())])?;
    let ended = least_recently_used(connection, owner, new.limit)?;
    for key in &ended {
        delete(connection, owner, key)?;
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO sessions (user, key, given, ack, used_us) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let used = integer(new.now.as_micros());
    insert.execute(params![
        user,
        new.key.0,
        inbox.delivered_up_to,
        new.ack,
        used
    ])?;
    note_given_to_all(connection, owner, inbox)?;
    inbox.write(connection, owner)?;
    Ok(OpenedSession::new(unsigned(inbox.delivered_up_to), ended))
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
    let mut select = connection.prepare_cached(
        "SELECT number, given, ack, used_us FROM sessions JOIN users ON login = user
         WHERE user = ?1 AND key = ?2",
    )?;
    let record = select.query_row(params![user.as_str(), key.0], record);
    record.optional()
}

/// About when any session was used last: of very many only some are looked at, and when a message was accepted last.
pub(super) fn latest_use(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let latest = connection.query_row(
        "SELECT max(
             coalesce((SELECT max(used_us) FROM (SELECT used_us FROM sessions LIMIT ?1)), 0),
             coalesce((SELECT time FROM messages ORDER BY number DESC LIMIT 1), 0) * 1000000)",
        [LOOKED_AT],
        |row| row.get(0),
    )?;
    Ok((latest > 0).then(|| Timestamp::from_micros(unsigned(latest))))
}

pub(super) fn resume(
    connection: &Connection,
    user: &UserId,
    key: &SessionKey,
) -> rusqlite::Result<Option<ResumedSession>> {
    let mut select = connection.prepare_cached(
        "SELECT number, given, ack, used_us, nick FROM sessions JOIN users ON login = user
         WHERE user = ?1 AND key = ?2",
    )?;
    let resumed = select.query_row(params![user.as_str(), key.0], |row| {
        let nick: String = row.get(4)?;
        Ok(ResumedSession::new(record(row)?, nick))
    });
    resumed.optional()
}

/// True when the session is there, or if none is named, its user, whose ephemeral ones were not ended since; and not
/// another user of the same login.
pub(super) fn is_there(connection: &Connection, look: &Look) -> rusqlite::Result<bool> {
    let Some(key) = &look.session else {
        let mut select = connection.prepare_cached(
            "SELECT 1 FROM users WHERE login = ?1 AND number = ?2 AND ephemeral_ended = ?3",
        )?;
        let (user, UserNumber(number)) = (look.owner.user.as_str(), look.owner.number);
        return select.exists(params![
            user,
            integer(number),
            integer(look.ephemeral_ended)
        ]);
    };
    let record = read(connection, &look.owner.user, key)?;
    Ok(record.is_some_and(|record| record.user_number == look.owner.number))
}

/// Reads a record from the columns number, given, ack, used_us.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let number = UserNumber(unsigned(row.get(0)?));
    let used = Timestamp::from_micros(unsigned(row.get(3)?));
    let (given, ack) = (unsigned(row.get(1)?), row.get(2)?);
    Ok(SessionRecord::new(number, given, ack, used))
}

pub(super) fn end(
    writing: &mut Writing<'_>,
    user: &UserId,
    key: &SessionKey,
) -> rusqlite::Result<()> {
    delete(writing.connection, user, key)?;
    left(writing, user)
}

pub(super) fn end_ephemeral(connection: &Connection, user: &UserId) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE users SET ephemeral_ended = ephemeral_ended + 1 WHERE login = ?1",
    )?;
    update.execute([user.as_str()]).map(drop)
}

pub(super) fn ephemeral_ended(connection: &Connection, user: &UserId) -> rusqlite::Result<u64> {
    let mut select =
        connection.prepare_cached("SELECT ephemeral_ended FROM users WHERE login = ?1")?;
    let ended = select.query_row([user.as_str()], |row| row.get(0));
    Ok(ended.optional()?.map_or(0, unsigned))
}

/// Sessions of the user are gone: what was kept for them alone need not be kept any longer.
pub(super) fn left(writing: &mut Writing<'_>, user: &UserId) -> rusqlite::Result<()> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    if let Some(inbox) = inboxes.of(connection, user)? {
        note_given_to_all(connection, user, inbox)?;
        inbox.write(connection, user)?;
    }
    Ok(())
}

fn delete(connection: &Connection, user: &UserId, key: &SessionKey) -> rusqlite::Result<()> {
    let mut delete =
        connection.prepare_cached("DELETE FROM sessions WHERE user = ?1 AND key = ?2")?;
    delete.execute(params![user.as_str(), key.0]).map(drop)
}

pub(super) fn advance(writing: &mut Writing<'_>, watermarks: &[Watermark]) -> rusqlite::Result<()> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    for mark in watermarks {
        let user = &mark.user;
        let Some(record) = read(connection, user, &mark.session)? else {
            continue;
        };
        let Some(inbox) = inboxes.of(connection, user)? else {
            continue;
        };
        let delivered_up_to =
            integer(record.delivered_up_to.max(mark.delivered_up_to)).min(inbox.newest);
        let used = integer(record.used.max(mark.used).as_micros());
        let mut update = connection.prepare_cached(
            "UPDATE sessions SET given = ?3, used_us = ?4 WHERE user = ?1 AND key = ?2",
        )?;
        update.execute(params![
            user.as_str(),
            mark.session.0,
            delivered_up_to,
            used
        ])?;
        if delivered_up_to > integer(record.delivered_up_to) {
            inbox::advance(connection, user, inbox, delivered_up_to)?;
            note_given_to_all(connection, user, inbox)?;
            let arrived = inbox::prune(connection, user, inbox)?;
            inbox.write(connection, user)?;
            let up_to = inbox.oldest - 1;
            inboxes.left(user, up_to, arrived);
        }
    }
    Ok(())
}

/// Works out up to where messages are delivered to every session; without sessions, up to where to any.
fn note_given_to_all(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached("SELECT min(given) FROM sessions WHERE user = ?1")?;
    let slowest: Option<i64> = select.query_row([user.as_str()], |row| row.get(0))?;
    inbox.delivered_to_all = slowest.unwrap_or(inbox.delivered_up_to);
    Ok(())
}
