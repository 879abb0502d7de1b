//! Dropping what is out of date, a small step at a time.
//!
//! Finding it means looking through whole tables, which a reader does; the writer drops what was
//! found, and looks again at each before it does.

use super::{inbox, sessions};
use crate::sql::integer;
use crate::writer::Writing;
use messenger_core::proto::UserId;
use messenger_core::storage::Expiry;
use rusqlite::{Connection, Params, params};

/// How many rows of each kind a step takes, so that nobody waits long for it.
const STEP: i64 = 256;

/// How many inboxes a step drops old messages of.
const INBOXES: i64 = 4;

/// What a step is to drop.
#[derive(Debug)]
pub(super) struct Found {
    /// Whose sessions have expired.
    owners: Vec<UserId>,
    /// Whose oldest messages are out of date.
    recipients: Vec<UserId>,
    /// Whose inboxes hold what is delivered to every session.
    pruned: Vec<UserId>,
    mids: bool,
    /// Sessions were used in what is the future.
    early: bool,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.owners.is_empty() && self.recipients.is_empty() && self.pruned.is_empty();
        nobody && !self.mids && !self.early
    }
}

pub(super) fn find(connection: &Connection, old: &Expiry) -> rusqlite::Result<Found> {
    let mut mids = connection.prepare_cached("SELECT 1 FROM mids WHERE used_us < ?1 LIMIT 1")?;
    let mut early =
        connection.prepare_cached("SELECT 1 FROM sessions WHERE used_us > ?1 LIMIT 1")?;
    let sessions_before = integer(old.sessions_before.as_micros());
    let messages_before = integer(old.messages_before.as_secs());
    Ok(Found {
        owners: users(
            connection,
            "SELECT DISTINCT user FROM sessions WHERE used_us < ?1 LIMIT ?2",
            [sessions_before, STEP],
        )?,
        recipients: users(
            connection,
            "SELECT user FROM inboxes WHERE oldest_time < ?1 AND oldest_time > 0 LIMIT ?2",
            [messages_before, INBOXES],
        )?,
        pruned: users(
            connection,
            "SELECT user FROM inboxes WHERE oldest <= given_to_all LIMIT 1",
            [],
        )?,
        mids: mids.exists([integer(old.mids_before.as_micros())])?,
        early: early.exists([integer(old.now.as_micros())])?,
    })
}

/// Drops what was found.
pub(super) fn drop(writing: &mut Writing<'_>, found: &Found, old: &Expiry) -> rusqlite::Result<()> {
    for user in &found.owners {
        drop_sessions(writing, user, integer(old.sessions_before.as_micros()))?;
    }
    for user in &found.recipients {
        drop_messages(writing, user, integer(old.messages_before.as_secs()))?;
    }
    for user in &found.pruned {
        if let Some(inbox) = writing.inboxes.of(writing.connection, user)? {
            let arrived = inbox::prune(writing.connection, user, inbox)?;
            inbox.write(writing.connection, user)?;
            let up_to = inbox.oldest - 1;
            writing.inboxes.left(user, up_to, arrived);
        }
    }
    if found.early {
        let sql = "UPDATE sessions SET used_us = ?1 WHERE used_us > ?1";
        let mut bring_back = writing.connection.prepare_cached(sql)?;
        bring_back.execute([integer(old.now.as_micros())])?;
    }
    drop_mids(writing.connection, integer(old.mids_before.as_micros()))
}

fn drop_sessions(writing: &mut Writing<'_>, user: &UserId, before: i64) -> rusqlite::Result<()> {
    let mut delete = writing
        .connection
        .prepare_cached("DELETE FROM sessions WHERE user = ?1 AND used_us < ?2")?;
    delete.execute(params![user.as_str(), before])?;
    sessions::left(writing, user)
}

/// Drops the oldest of an inbox that were accepted before this second.
fn drop_messages(writing: &mut Writing<'_>, user: &UserId, before: i64) -> rusqlite::Result<()> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    let Some(inbox) = inboxes.of(connection, user)? else {
        return Ok(());
    };
    let mut newest_old = connection.prepare_cached(
        "SELECT max(seq) FROM (SELECT seq, time FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT ?2)
         WHERE time < ?3",
    )?;
    let limit = STEP / INBOXES;
    let place: Option<i64> =
        newest_old.query_row(params![user.as_str(), limit, before], |row| row.get(0))?;
    // Without any, the time of the oldest is noted anew, or it would be found for ever.
    let place = place.unwrap_or(inbox.oldest - 1);
    let arrived = inbox::drop_up_to(connection, user, inbox, place)?;
    inbox.write(connection, user)?;
    let up_to = inbox.oldest - 1;
    inboxes.left(user, up_to, arrived);
    Ok(())
}

fn drop_mids(connection: &Connection, before: i64) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM mids WHERE (recipient, sender, mid) IN
         (SELECT recipient, sender, mid FROM mids WHERE used_us < ?1 LIMIT ?2)",
    )?;
    delete.execute([before, STEP]).map(std::mem::drop)
}

fn users(connection: &Connection, sql: &str, limits: impl Params) -> rusqlite::Result<Vec<UserId>> {
    let mut select = connection.prepare_cached(sql)?;
    let users = select.query_map(limits, |row| row.get::<_, String>(0).map(UserId::from))?;
    users.collect()
}
