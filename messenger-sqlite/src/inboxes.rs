//! Inboxes' counters, and what the writer remembers of them.

use crate::arrivals::{Arrival, Arrivals};
use crate::messages;
use crate::recent::{Change, Recent};
use crate::sql::{integer, is_number_there, unsigned, user_number};
use messenger_core::proto::{SharedMessage, UserId};
use messenger_core::storage::UserNumber;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// How many inboxes are remembered, at some 200 bytes each, and how many senders; then all are forgotten, but for those to
/// whom something has just come.
const REMEMBERED: usize = 100_000;

/// How many messages that have just come are moved at once, so that nobody waits long for it.
const STEP: usize = 512;

/// How long one stays before it is moved, or up to twice as long.
const STAYS: Duration = Duration::from_secs(1);

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
    arrived: VecDeque<Arrival>,
    /// Up to this sequence number all that lay in `arrivals` was moved.
    settled_up_to: i64,
    /// Messages are delivered to every session within a moment: none had to be moved since that happened last.
    pub(crate) keeps_up: bool,
    /// It is among those to whom something has just come.
    is_listed: bool,
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
            arrived: VecDeque::new(),
            settled_up_to: 0,
            keeps_up: true,
            is_listed: false,
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
        self.newest = self.newest.max(seq);
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

    /// The sequence number and the time of the oldest that has just come.
    pub(crate) fn oldest_arrived(&self) -> Option<(i64, i64)> {
        let oldest = self.arrived.front()?;
        Some((oldest.seq, integer(oldest.message.time)))
    }

    /// How many have just come above one sequence number, up to another, and their bytes.
    pub(crate) fn arrived_between(&self, behind: i64, to: i64) -> (i64, i64) {
        let from = self.arrived.partition_point(|one| one.seq <= behind);
        let arrived = self.arrived.range(from..);
        let arrived = arrived.take_while(|one| one.seq <= to);
        arrived.fold((0, 0), |(count, bytes), one| {
            (count + 1, bytes + integer(one.message.size()))
        })
    }

    /// Forgets those that have just come, up to this sequence number, which all are delivered to every session or out of
    /// date; the numbers of their rows. It changes no counter.
    pub(crate) fn take_arrived(&mut self, to: i64) -> Vec<i64> {
        self.keeps_up = true;
        let end = self.arrived.partition_point(|one| one.seq <= to);
        self.arrived.drain(..end).map(|one| one.row).collect()
    }

    pub(crate) fn write(&mut self, connection: &Connection, user: &UserId) -> rusqlite::Result<()> {
        let mut upsert = connection.prepare_cached(
            "INSERT OR REPLACE INTO inboxes
             (user, newest, oldest, oldest_time, given, given_to_all, kept, bytes, waiting, waiting_bytes, settled)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
            self.settled_up_to,
        ];
        upsert.execute(row).map(drop)
    }

    fn read(connection: &Connection, user: &UserId, owner: UserNumber) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached(
            "SELECT newest, oldest, oldest_time, given, given_to_all, kept, bytes, waiting, waiting_bytes, settled
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
                settled_up_to: row.get(9)?,
                keeps_up: false,
                is_listed: false,
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
        inbox.keeps_up = inbox.kept == 0;
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
    /// `None` until it is read.
    arrivals: Option<Arrivals>,
    /// To whom something has just come, or had when it was looked at last.
    listed: VecDeque<UserId>,
    /// Of those, to whom something has come so long ago that it is to be moved.
    due: VecDeque<UserId>,
    /// When they were looked at last, and the number of the row that came next.
    looked: (Instant, i64),
    /// What readers are to be told once it is committed.
    changes: Vec<Change>,
    /// Nothing of what they were told before counts.
    is_anew: bool,
    recent: Recent,
}

impl Inboxes {
    /// None is known yet. Readers find in `recent` what has just come.
    pub(crate) fn new(lost_up_to: i64, recent: Recent) -> Self {
        Self {
            lost_up_to,
            known: HashMap::new(),
            senders: HashSet::new(),
            arrivals: None,
            listed: VecDeque::new(),
            due: VecDeque::new(),
            looked: (Instant::now(), 0),
            changes: Vec::new(),
            is_anew: false,
            recent,
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
        self.arrivals(connection)?;
        self.read(connection, user)
    }

    /// The same, without what lies in `arrivals` if that is not known.
    fn read(
        &mut self,
        connection: &Connection,
        user: &UserId,
    ) -> rusqlite::Result<Option<&mut Inbox>> {
        if !self.known.contains_key(user) {
            let Some(owner) = user_number(connection, user)? else {
                return Ok(None);
            };
            if self.known.len() >= REMEMBERED {
                self.forget_most();
            }
            let inbox = Inbox::read(connection, user, owner)?;
            // Its own text: this one may share a whole frame's bytes.
            self.known.insert(user.as_str().into(), inbox);
        }
        Ok(self.known.get_mut(user))
    }

    /// What lies in `arrivals`, which is read if it is not known.
    pub(crate) fn arrivals(&mut self, connection: &Connection) -> rusqlite::Result<&mut Arrivals> {
        let arrivals = match self.arrivals.take() {
            Some(arrivals) => arrivals,
            None => {
                self.is_anew = true;
                let behind = self.recent.row();
                Arrivals::read(connection, behind, |one| self.remember(connection, one))?
            }
        };
        Ok(self.arrivals.insert(arrivals))
    }

    /// True when the message is still here: nobody has dropped or moved it.
    fn remember(&mut self, connection: &Connection, arrival: Arrival) -> rusqlite::Result<bool> {
        let Arrival { seq, message, .. } = &arrival;
        let Some(inbox) = self.read(connection, &message.to)? else {
            return Ok(false);
        };
        if *seq < inbox.oldest || *seq <= inbox.settled_up_to {
            return Ok(false);
        }
        if *seq > inbox.written {
            inbox.add(*seq, integer(message.size()), integer(message.time));
        }
        let user = (!inbox.is_listed).then(|| message.to.clone());
        inbox.is_listed = true;
        inbox.arrived.push_back(arrival);
        self.listed.extend(user);
        Ok(true)
    }

    /// True when one more message may come that need not stay.
    pub(crate) fn have_room(&self) -> bool {
        self.arrivals.as_ref().is_some_and(Arrivals::have_room)
    }

    /// Adds a message to an inbox that was looked at in this transaction.
    pub(crate) fn arrive(&mut self, message: &SharedMessage, seq: i64) {
        let (Some(inbox), Some(arrivals)) = (self.known.get_mut(&message.to), &mut self.arrivals)
        else {
            return;
        };
        let message = message.to_kept();
        inbox.add(seq, integer(message.size()), integer(message.time));
        if !std::mem::replace(&mut inbox.is_listed, true) {
            self.listed.push_back(message.to.as_str().into());
        }
        inbox.arrived.push_back(arrivals.add(seq, message.clone()));
        self.changes.push(Change::Came {
            owner: inbox.owner,
            seq,
            message,
        });
    }

    /// An inbox has given up messages of these rows of `arrivals`, up to this sequence number.
    pub(crate) fn left(&mut self, user: &UserId, up_to: i64, rows: Vec<i64>) {
        if rows.is_empty() {
            return;
        }
        if let Some(arrivals) = &mut self.arrivals {
            for row in rows {
                arrivals.leave(row);
            }
        }
        let user = user.as_str().into();
        self.changes.push(Change::Gone { user, up_to });
    }

    /// Moves all messages to `messages`, for whoever is to find them there.
    pub(crate) fn settle(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.arrivals(connection)?;
        while let Some(user) = self.due.pop_front().or_else(|| self.listed.pop_front()) {
            self.settle_inbox(connection, &user, usize::MAX)?;
            self.list_again(user);
        }
        self.arrivals(connection)?.clear(connection)
    }

    /// The same for an inbox, so many of its oldest; how many.
    pub(crate) fn settle_inbox(
        &mut self,
        connection: &Connection,
        user: &UserId,
        most: usize,
    ) -> rusqlite::Result<usize> {
        let Some(inbox) = self.known.get_mut(user) else {
            return Ok(0);
        };
        let count = inbox.arrived.len().min(most);
        let mut rows = Vec::with_capacity(count);
        for Arrival { row, seq, message } in inbox.arrived.drain(..count) {
            messages::insert_missing(connection, &message, seq)?;
            inbox.settled_up_to = seq;
            rows.push(row);
        }
        if !rows.is_empty() {
            inbox.keeps_up = false;
            inbox.write(connection, user)?;
        }
        let up_to = inbox.settled_up_to;
        self.left(user, up_to, rows);
        Ok(count)
    }

    /// Moves messages that were accepted before this second, for whoever is to find them among those that stay.
    pub(crate) fn settle_before(
        &mut self,
        connection: &Connection,
        before: i64,
    ) -> rusqlite::Result<()> {
        self.arrivals(connection)?;
        let is_old = |inbox: &Inbox| {
            inbox
                .oldest_arrived()
                .is_some_and(|(_, time)| time < before)
        };
        let known = &self.known;
        let old = |user: &&UserId| known.get(*user).is_some_and(is_old);
        let listed = self.due.iter().chain(&self.listed);
        let old: Vec<_> = listed.filter(old).cloned().collect();
        for user in old {
            self.settle_inbox(connection, &user, usize::MAX)?;
        }
        Ok(())
    }

    /// Writes at the end of a transaction what has come in it.
    pub(crate) fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match &mut self.arrivals {
            Some(arrivals) => arrivals.write(connection),
            None => Ok(()),
        }
    }

    /// True when there are messages that have come long ago, and are to be moved, or nobody knows.
    pub(crate) fn is_due(&mut self) -> bool {
        self.look();
        self.arrivals.is_none() || !self.due.is_empty()
    }

    /// Moves some of them.
    pub(crate) fn settle_due(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.arrivals(connection)?;
        let mut moved = 0;
        while moved < STEP
            && let Some(user) = self.due.pop_front()
        {
            moved += self.settle_inbox(connection, &user, STEP)?;
            self.list_again(user);
        }
        Ok(())
    }

    /// Something of what has just come to the user was moved; what is left comes next.
    fn list_again(&mut self, user: UserId) {
        if let Some(inbox) = self.known.get_mut(&user) {
            inbox.is_listed = !inbox.arrived.is_empty();
            if inbox.is_listed {
                self.due.push_front(user);
            }
        }
    }

    /// Finds out, once in a while, which messages have not been delivered for long.
    fn look(&mut self) {
        let (looked, row) = self.looked;
        if looked.elapsed() < STAYS {
            return;
        }
        let next = self.arrivals.as_ref().map_or(0, Arrivals::next);
        self.looked = (Instant::now(), next);
        for user in std::mem::take(&mut self.listed) {
            let Some(inbox) = self.known.get_mut(&user) else {
                continue;
            };
            match inbox.arrived.front() {
                None => inbox.is_listed = false,
                Some(oldest) if oldest.row < row => self.due.push_back(user),
                Some(_) => self.listed.push_back(user),
            }
        }
    }

    /// What is committed is what readers find.
    pub(crate) fn publish(&mut self) {
        // Nothing that readers find was touched while these are not known.
        let Some(arrivals) = &self.arrivals else {
            return;
        };
        let row = arrivals.next() - 1;
        if self.is_anew {
            self.is_anew = false;
            self.changes.clear();
            let known = self.known.iter();
            let arrived = known.filter(|(_, inbox)| !inbox.arrived.is_empty());
            let arrived = arrived.map(|(user, inbox)| (user, inbox.owner, &inbox.arrived));
            self.recent.replace(row, arrived);
        } else if !self.changes.is_empty() {
            self.recent.change(row, self.changes.drain(..));
        }
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

    /// Forgets inboxes, but for those to which something has just come.
    fn forget_most(&mut self) {
        let known = &mut self.known;
        known.retain(|_, inbox| !inbox.arrived.is_empty());
        self.listed.retain(|user| known.contains_key(user));
        self.due.retain(|user| known.contains_key(user));
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.lost_up_to, self.recent.clone());
    }
}

/// The sequence number of the newest message there ever was, for whoever only reads. What has just come is to be looked
/// up before the connection reads anything of the inbox.
pub(crate) fn newest(
    connection: &Connection,
    recent: Option<(UserNumber, i64)>,
    user: &UserId,
) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached(
        "SELECT max(coalesce((SELECT newest FROM inboxes WHERE user = ?1), 0),
                    coalesce((SELECT max(seq) FROM messages WHERE recipient = ?1), 0))",
    )?;
    let mut newest = select.query_row([user.as_str()], |row| row.get(0))?;
    if let Some((owner, seq)) = recent
        && seq > newest
        && user_number(connection, user)? == Some(owner)
    {
        newest = seq;
    }
    Ok(unsigned(newest))
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
