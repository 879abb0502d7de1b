//! Dropping what is out of date, a small step at a time.
//!
//! Sessions and inboxes have no index by age, which would make every message write more. So a reader walks through the
//! users, some of them at a time, and so many of them a minute that a store of any size is not kept busy by it; the next
//! minute it goes on where it was. The writer drops what was found, and looks again at each before it does.

use super::{inbox, sessions};
use crate::sql::integer;
use crate::writer::Writing;
use messenger_core::proto::UserId;
use messenger_core::storage::{Expiry, PURGE_EVERY};
use rusqlite::{Connection, Params, params};
use std::time::Duration;

/// How many users a step looks at, so that no other call waits long for it.
const LOOKED_AT: i64 = 1024;

/// How many steps there are in a round. One that has found something is none of them.
const STEPS: usize = 64;

/// Of how many users a step drops something of each kind.
const USERS: i64 = 16;

/// How many messages, and how many `mid`s, a step drops.
const STEP: i64 = 256;

/// How far the reader has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// Up to this login nothing is out of date.
    after: String,
    /// How many steps of this round were taken.
    steps: usize,
}

impl Walk {
    /// The users of a step have nothing left that is out of date. When there may be more.
    pub(super) fn go_on(&mut self, found: Found) -> Duration {
        self.steps += 1;
        let is_whole = found.last.is_none();
        self.after = found.last.unwrap_or_default();
        if !is_whole && self.steps < STEPS {
            return Duration::ZERO;
        }
        self.steps = 0;
        PURGE_EVERY
    }
}

/// What a step is to drop.
#[derive(Debug)]
pub(super) struct Found {
    /// Whose sessions have expired.
    owners: Vec<UserId>,
    /// Whose sessions were used in what is the future.
    early: Vec<UserId>,
    /// Whose oldest messages are out of date.
    recipients: Vec<UserId>,
    /// Whose inboxes hold what is delivered to every session.
    pruned: Vec<UserId>,
    mids: bool,
    /// The last user who was looked at; none when no more come behind.
    last: Option<String>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        let all = [&self.owners, &self.early, &self.recipients, &self.pruned];
        all.iter().all(|users| users.is_empty()) && !self.mids
    }
}

pub(super) fn find(connection: &Connection, old: &Expiry, walk: &Walk) -> rusqlite::Result<Found> {
    let after = walk.after.as_str();
    let mut block = connection.prepare_cached(
        "SELECT count(*), coalesce(max(login), '')
         FROM (SELECT login FROM users WHERE login > ?1 ORDER BY login LIMIT ?2)",
    )?;
    let (count, last): (i64, String) = block.query_row(params![after, LOOKED_AT], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let among = |sql, limit: i64| users(connection, sql, params![after, last, limit, USERS]);
    let mut mids = connection.prepare_cached("SELECT 1 FROM mids WHERE used_us < ?1 LIMIT 1")?;
    Ok(Found {
        owners: among(
            "SELECT DISTINCT user FROM sessions
             WHERE user > ?1 AND user <= ?2 AND used_us < ?3 LIMIT ?4",
            integer(old.sessions_before.as_micros()),
        )?,
        early: among(
            "SELECT DISTINCT user FROM sessions
             WHERE user > ?1 AND user <= ?2 AND used_us > ?3 LIMIT ?4",
            integer(old.now.as_micros()),
        )?,
        recipients: among(
            "SELECT user FROM inboxes
             WHERE user > ?1 AND user <= ?2 AND oldest_time < ?3 AND oldest_time > 0 LIMIT ?4",
            integer(old.messages_before.as_secs()),
        )?,
        pruned: users(
            connection,
            "SELECT user FROM inboxes WHERE oldest <= given_to_all LIMIT 1",
            [],
        )?,
        mids: mids.exists([integer(old.mids_before.as_micros())])?,
        last: (count == LOOKED_AT).then_some(last),
    })
}

/// Drops what was found.
pub(super) fn drop(writing: &mut Writing<'_>, found: &Found, old: &Expiry) -> rusqlite::Result<()> {
    for user in &found.owners {
        drop_sessions(writing, user, integer(old.sessions_before.as_micros()))?;
    }
    bring_back(
        writing.connection,
        &found.early,
        integer(old.now.as_micros()),
    )?;
    let mut left = STEP;
    for user in &found.recipients {
        let before = integer(old.messages_before.as_secs());
        left -= drop_messages(writing, user, before, left)?;
        if left <= 0 {
            break;
        }
    }
    for user in &found.pruned {
        if let Some(inbox) = writing.inboxes.of(writing.connection, user)? {
            let arrived = inbox::prune(writing.connection, user, inbox)?;
            inbox.write(writing.connection, user)?;
            let up_to = inbox.oldest - 1;
            writing.inboxes.left(user, up_to, arrived);
        }
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

/// Their sessions count as used now.
fn bring_back(connection: &Connection, users: &[UserId], now: i64) -> rusqlite::Result<()> {
    let mut update = connection
        .prepare_cached("UPDATE sessions SET used_us = ?2 WHERE user = ?1 AND used_us > ?2")?;
    for user in users {
        update.execute(params![user.as_str(), now])?;
    }
    Ok(())
}

/// Drops the oldest of an inbox that were accepted before this second, at most so many; how many.
fn drop_messages(
    writing: &mut Writing<'_>,
    user: &UserId,
    before: i64,
    limit: i64,
) -> rusqlite::Result<i64> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    let Some(inbox) = inboxes.of(connection, user)? else {
        return Ok(0);
    };
    let kept = inbox.kept;
    let mut newest_old = connection.prepare_cached(
        "SELECT max(seq) FROM (SELECT seq, time FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT ?2)
         WHERE time < ?3",
    )?;
    let place: Option<i64> =
        newest_old.query_row(params![user.as_str(), limit, before], |row| row.get(0))?;
    // Without any, the time of the oldest is noted anew, or it would be found for ever.
    let place = place.unwrap_or(inbox.oldest - 1);
    let arrived = inbox::drop_up_to(connection, user, inbox, place)?;
    inbox.write(connection, user)?;
    let dropped = kept - inbox.kept;
    let up_to = inbox.oldest - 1;
    inboxes.left(user, up_to, arrived);
    Ok(dropped)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;
    use messenger_core::clock::Timestamp;

    /// More users than a round looks at, each with a session; one who comes late has not used it for long.
    const FILL: &str = "
        WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 69999)
        INSERT INTO users (login, nick) SELECT format('user%05d', n), 'nick' FROM numbers;
        INSERT INTO sessions (user, key, given, ack, used_us) SELECT login, x'00', 0, 0, 2 FROM users;
        UPDATE sessions SET used_us = 0 WHERE user = 'user69000'";

    #[test]
    fn a_round_looks_at_so_many_users_and_the_next_one_goes_on_behind_them() {
        let mut store = Connection::open_in_memory().unwrap();
        format::upgrade(&mut store, format::VERSION).unwrap();
        store.execute_batch(FILL).unwrap();
        let mut old = Expiry::at(
            Timestamp::from_micros(2),
            PURGE_EVERY,
            PURGE_EVERY,
            PURGE_EVERY,
        );
        old.sessions_before = Timestamp::from_micros(1);
        let mut walk = Walk::default();
        for _ in 1..STEPS {
            let found = find(&store, &old, &walk).unwrap();
            assert!(found.is_empty());
            assert_eq!(walk.go_on(found), Duration::ZERO);
        }
        let found = find(&store, &old, &walk).unwrap();
        assert_eq!(walk.go_on(found), PURGE_EVERY, "a round is over");
        let found = loop {
            let found = find(&store, &old, &walk).unwrap();
            if !found.is_empty() {
                break found;
            }
            assert_eq!(walk.go_on(found), Duration::ZERO);
        };
        assert_eq!(found.owners, ["user69000".into()]);
        store
            .execute("DELETE FROM sessions WHERE used_us = 0", [])
            .unwrap();
        loop {
            let found = find(&store, &old, &walk).unwrap();
            assert!(found.is_empty());
            if walk.go_on(found) == PURGE_EVERY {
                break;
            }
        }
        assert_eq!(walk.after, "", "it begins anew");
    }
}
