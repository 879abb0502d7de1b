//! Inboxes' counters, and what the writer remembers of them.

use crate::arrivals::{self, Arrivals, STEP};
use crate::sql::{integer, is_number_there, user_number};
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::UserNumber;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{HashMap, HashSet, VecDeque};

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
    /// Those kept that lie in `arrivals`, in their order; all others lie in `messages`.
    arrived: VecDeque<Arrived>,
    /// `newest` as it was written last.
    written: i64,
}

/// A message in `arrivals`.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    /// Of its row.
    number: i64,
    seq: i64,
    size: i64,
    time: i64,
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
            arrived: VecDeque::new(),
            written: 0,
        }
    }

    /// Counts in one more message, which lies in `messages`. The row need not be written each time: what came behind
    /// `written` is counted when it is read.
    pub(crate) fn count(
        &mut self,
        connection: &Connection,
        user: &UserId,
        (seq, size, time): (i64, i64, i64),
    ) -> rusqlite::Result<()> {
        let is_first = self.settled() == 0;
        self.add(seq, size, time);
        // The first is written so that the purge finds it.
        if is_first || self.newest - self.written >= WRITTEN_EVERY {
            self.write(connection, user)?;
        }
        Ok(())
    }

    fn add(&mut self, seq: i64, size: i64, time: i64) {
        self.newest = seq;
        if self.kept == 0 {
            self.oldest = seq;
            self.oldest_time = time;
        }
        self.kept += 1;
        self.bytes += size;
        self.waiting += 1;
        self.waiting_bytes += size;
    }

    /// How many lie in `messages`.
    pub(crate) fn settled(&self) -> i64 {
        self.kept - integer(self.arrived.len())
    }

    /// The sequence number and the time of the oldest that has just arrived.
    pub(crate) fn oldest_arrived(&self) -> Option<(i64, i64)> {
        self.arrived.front().map(|oldest| (oldest.seq, oldest.time))
    }

    /// How many have just arrived above one sequence number, up to another, and their bytes.
    pub(crate) fn arrived_between(&self, behind: i64, to: i64) -> (i64, i64) {
        let from = self.arrived.partition_point(|one| one.seq <= behind);
        let arrived = self.arrived.range(from..);
        arrived
            .take_while(|one| one.seq <= to)
            .fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.size))
    }

    /// Forgets those that have just arrived, up to this sequence number; the numbers of their rows. It changes no
    /// counter.
    pub(crate) fn take_arrived(&mut self, to: i64) -> Vec<i64> {
        let end = self.arrived.partition_point(|one| one.seq <= to);
        self.arrived.drain(..end).map(|one| one.number).collect()
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
                arrived: VecDeque::new(),
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
    /// Nothing while what lies there is not remembered. Those it is remembered of are among the known.
    arrivals: Option<Arrivals>,
    /// What lies there could not be moved in this transaction.
    is_stuck: bool,
    /// Users who are there.
    senders: HashSet<UserNumber>,
}

impl Inboxes {
    pub(crate) fn new(lost_up_to: i64) -> Self {
        Self {
            lost_up_to,
            known: HashMap::new(),
            arrivals: None,
            is_stuck: false,
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
                self.settle(connection)?;
                self.forget();
            }
            self.arrivals(connection)?;
            let inbox = Inbox::read(connection, user, owner)?;
            // Its own text: this one may share a whole frame's bytes.
            self.known.insert(user.as_str().into(), inbox);
        }
        Ok(self.known.get_mut(user))
    }

    fn arrivals(&mut self, connection: &Connection) -> rusqlite::Result<&mut Arrivals> {
        if self.arrivals.is_none() {
            self.is_stuck = true;
            arrivals::settle(connection)?;
            // A disk that is full says so here, and not at the commit.
            connection.cache_flush()?;
            self.is_stuck = false;
        }
        Ok(self.arrivals.get_or_insert_with(Arrivals::none))
    }

    /// True when a transaction failed because what had just come, which is much, could not be moved. None that needs it would
    /// do better.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Adds a message to an inbox that was looked at in this transaction.
    pub(crate) fn arrive(
        &mut self,
        connection: &Connection,
        message: &Message,
        seq: i64,
    ) -> rusqlite::Result<()> {
        let number = self.arrivals(connection)?.add(connection, message, seq)?;
        let (size, time) = (integer(message.size()), integer(message.time));
        if let Some(inbox) = self.known.get_mut(&message.to) {
            inbox.add(seq, size, time);
            inbox.arrived.push_back(Arrived {
                number,
                seq,
                size,
                time,
            });
        }
        Ok(())
    }

    /// Has these rows of `arrivals` dropped at the end of the transaction.
    pub(crate) fn drop_arrived(&mut self, numbers: Vec<i64>) {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.drop_soon(numbers);
        }
    }

    /// Moves all messages to `messages`, for whoever is to find them there.
    pub(crate) fn settle(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.arrivals(connection)?.drop_now(connection)?;
        while self.settle_some(connection, i64::MAX)? == STEP {}
        Ok(())
    }

    /// The same if this one has written any, at the end. Another process may have written since: nothing that is remembered
    /// counts.
    pub(crate) fn settle_last(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match self.arrivals.take() {
            Some(_) => arrivals::settle(connection),
            None => Ok(()),
        }
    }

    /// Does at the end of a transaction what was left for it.
    pub(crate) fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(arrivals) = &mut self.arrivals else {
            return Ok(());
        };
        arrivals.drop_now(connection)?;
        if let Some(up_to) = arrivals.due() {
            self.settle_some(connection, up_to)?;
        }
        while self.arrivals(connection)?.are_too_many() {
            self.settle_some(connection, i64::MAX)?;
        }
        Ok(())
    }

    /// Moves the oldest, up to this number; how many.
    fn settle_some(&mut self, connection: &Connection, up_to: i64) -> rusqlite::Result<usize> {
        let moved = self.arrivals(connection)?.move_some(connection, up_to)?;
        for user in &moved {
            if let Some(inbox) = self.known.get_mut(user) {
                inbox.arrived.pop_front();
            }
        }
        let count = moved.len();
        for user in moved.into_iter().collect::<HashSet<_>>() {
            if let Some(inbox) = self.known.get_mut(&user) {
                inbox.write(connection, &user)?;
            }
        }
        Ok(count)
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
        "SELECT max(coalesce((SELECT newest FROM inboxes WHERE user = ?1), 0),
                    coalesce((SELECT max(seq) FROM messages WHERE recipient = ?1), 0),
                    coalesce((SELECT max(seq) FROM arrivals WHERE recipient = ?1), 0))",
    )?;
    select.query_row([user.as_str()], |row| row.get(0))
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
