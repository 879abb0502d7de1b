//! Inboxes' counters, and what the writer remembers of them.

use crate::sql::{is_number_there, user_number};
use messenger_core::proto::UserId;
use messenger_core::storage::UserNumber;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{HashMap, HashSet};

/// How many inboxes are remembered, at some 200 bytes each, and how many senders; then all are forgotten.
const REMEMBERED: usize = 100_000;

/// A row is written again when so many messages have come since: whoever reads it has to count those.
const WRITTEN_EVERY: i64 = 64;

/// An inbox's counters.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    /// Whose it is.
    pub(crate) owner: UserNumber,
    /// The sequence number of the newest message there ever was.
    pub(crate) newest: i64,
    /// The sequence number of the oldest message kept; without any, one between the newest there was and the next to come.
    pub(crate) oldest: i64,
    /// When that was accepted, or earlier; in seconds.
    pub(crate) oldest_time: i64,
    /// The highest watermark of any session, ended ones included.
    pub(crate) delivered_up_to: i64,
    /// Up to this sequence number messages are delivered to every session.
    pub(crate) delivered_to_all: i64,
    /// How many messages are kept.
    pub(crate) kept: i64,
    /// Their bytes.
    pub(crate) bytes: i64,
    /// How many of them are delivered to no session.
    pub(crate) waiting: i64,
    /// The bytes of those.
    pub(crate) waiting_bytes: i64,
    /// `newest` as it was written last.
    written: i64,
}

impl Inbox {
    fn empty(owner: UserNumber) -> Self {
        Self {
            owner,
            newest: 0,
            oldest: 1,
            oldest_time: 0,
            delivered_up_to: 0,
            delivered_to_all: 0,
            kept: 0,
            bytes: 0,
            waiting: 0,
            waiting_bytes: 0,
            written: 0,
        }
    }

    /// Counts one more message in, with this sequence number. The row need not be written each time: what came behind
    /// `written` is counted when it is read.
    pub(crate) fn count(
        &mut self,
        connection: &Connection,
        user: &UserId,
        (seq, size, time): (i64, i64, i64),
    ) -> rusqlite::Result<()> {
        self.newest = seq;
        let is_first = self.kept == 0;
        if is_first {
            self.oldest = self.newest;
            self.oldest_time = time;
        }
        self.kept += 1;
        self.bytes += size;
        self.waiting += 1;
        self.waiting_bytes += size;
        // The first is written so that the purge finds it.
        if is_first || self.newest - self.written >= WRITTEN_EVERY {
            self.write(connection, user)?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, connection: &Connection, user: &UserId) -> rusqlite::Result<()> {
        let mut upsert = connection.prepare_cached(
            "INSERT OR REPLACE INTO inboxes
             (user, newest, oldest, oldest_time, given, given_to_all, kept, bytes, waiting, waiting_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        self.written = self.newest;
        let row = params![
            user.as_str(),
            self.newest,
            self.oldest,
            self.oldest_time,
            self.delivered_up_to,
            self.delivered_to_all,
            self.kept,
            self.bytes,
            self.waiting,
            self.waiting_bytes,
        ];
        upsert.execute(row).map(drop)
    }

    fn read(connection: &Connection, user: &UserId, owner: UserNumber) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached(
            "SELECT newest, oldest, oldest_time, given, given_to_all, kept, bytes, waiting, waiting_bytes
             FROM inboxes WHERE user = ?1",
        )?;
        let row = select.query_row([user.as_str()], |row| {
            let newest = row.get(0)?;
            Ok(Self {
                owner,
                newest,
                oldest: row.get(1)?,
                oldest_time: row.get(2)?,
                delivered_up_to: row.get(3)?,
                delivered_to_all: row.get(4)?,
                kept: row.get(5)?,
                bytes: row.get(6)?,
                waiting: row.get(7)?,
                waiting_bytes: row.get(8)?,
                written: newest,
            })
        });
        let Some(mut inbox) = row.optional()? else {
            return Ok(Self::empty(owner));
        };
        let mut behind = connection.prepare_cached(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(max(seq), ?2) FROM messages
             WHERE recipient = ?1 AND seq > ?2",
        )?;
        let (count, size, newest): (i64, i64, i64) = behind
            .query_row(params![user.as_str(), inbox.newest], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        inbox.newest = newest;
        inbox.kept += count;
        inbox.bytes += size;
        inbox.waiting += count;
        inbox.waiting_bytes += size;
        Ok(inbox)
    }
}

/// Inboxes as the writer has left them, so that an append need not look anything up. What a
/// transaction has changed here is forgotten when it is rolled back.
#[derive(Debug)]
pub(crate) struct Inboxes {
    /// Sequence numbers up to here may have been used by a store that was lost, of which this is an older copy.
    lost_up_to: i64,
    known: HashMap<UserId, Inbox>,
    /// Users who are there.
    senders: HashSet<UserNumber>,
}

impl Inboxes {
    pub(crate) fn new(lost_up_to: i64) -> Self {
        Self {
            lost_up_to,
            known: HashMap::new(),
            senders: HashSet::new(),
        }
    }

    /// The sequence number above which the next message in any inbox is numbered, whatever was there.
    pub(crate) fn lost_up_to(&self) -> i64 {
        self.lost_up_to
    }

    /// The user's inbox; `None` when there is no such user.
    pub(crate) fn of(
        &mut self,
        connection: &Connection,
        user: &UserId,
    ) -> rusqlite::Result<Option<&mut Inbox>> {
        if !self.known.contains_key(user) {
            let Some(owner) = user_number(connection, user)? else {
                return Ok(None);
            };
            if self.known.len() >= REMEMBERED {
                self.forget();
            }
            let inbox = Inbox::read(connection, user, owner)?;
            // Its own text: this one may share a whole frame's bytes.
            self.known.insert(user.as_str().into(), inbox);
        }
        Ok(self.known.get_mut(user))
    }

    /// True while there is a user of this number.
    pub(crate) fn is_there(
        &mut self,
        connection: &Connection,
        sender: UserNumber,
    ) -> rusqlite::Result<bool> {
        if self.senders.contains(&sender) {
            return Ok(true);
        }
        let is_there = is_number_there(connection, sender)?;
        if is_there {
            if self.senders.len() >= REMEMBERED {
                self.senders = HashSet::new();
            }
            self.senders.insert(sender);
        }
        Ok(is_there)
    }

    /// Forgets a user who is no more.
    pub(crate) fn forget_user(&mut self, user: &UserId, number: UserNumber) {
        self.known.remove(user);
        self.senders.remove(&number);
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.lost_up_to);
    }
}

/// The sequence number of the newest message there ever was, for whoever only reads.
pub(crate) fn newest(connection: &Connection, user: &UserId) -> rusqlite::Result<i64> {
    let mut select = connection.prepare_cached(
        "SELECT max(newest, (SELECT coalesce(max(seq), 0) FROM messages WHERE recipient = ?1))
         FROM inboxes WHERE user = ?1",
    )?;
    let newest = select.query_row([user.as_str()], |row| row.get(0));
    Ok(newest.optional()?.unwrap_or(0))
}

/// Counts all inboxes anew, of a store that was damaged. Numbers that anything tells of are not given again.
pub(crate) fn recount(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "WITH known AS (
             SELECT login AS user,
                 (SELECT max(newest, given) FROM inboxes WHERE user = login) AS counted,
                 (SELECT given FROM inboxes WHERE user = login) AS given,
                 (SELECT max(seq) FROM messages WHERE recipient = login) AS newest,
                 (SELECT max(given) FROM sessions WHERE user = login) AS fastest,
                 (SELECT min(given) FROM sessions WHERE user = login) AS slowest
             FROM users
         ), places AS (
             SELECT user, slowest,
                 max(coalesce(counted, 0), coalesce(newest, 0), coalesce(fastest, 0)) AS newest,
                 max(coalesce(given, 0), coalesce(fastest, 0)) AS given
             FROM known
         )
         INSERT INTO inboxes
             (user, newest, oldest, oldest_time, given, given_to_all, kept, bytes, waiting, waiting_bytes)
         SELECT user, newest, coalesce(min(seq), newest + 1), coalesce(min(time), 0), given,
             coalesce(slowest, given), count(seq), coalesce(sum(size), 0),
             count(seq) FILTER (WHERE seq > given),
             coalesce(sum(size) FILTER (WHERE seq > given), 0)
         FROM places LEFT JOIN messages ON recipient = user WHERE newest > 0 GROUP BY user
         ON CONFLICT (user) DO UPDATE SET
             newest = excluded.newest, oldest = excluded.oldest,
             oldest_time = excluded.oldest_time, given = excluded.given,
             given_to_all = excluded.given_to_all, kept = excluded.kept, bytes = excluded.bytes,
             waiting = excluded.waiting, waiting_bytes = excluded.waiting_bytes",
    )
}
