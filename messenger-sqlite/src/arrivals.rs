//! Messages that have just come, in a table of their own.
//!
//! Most are delivered within a moment and dropped again. So a place in the index of `messages` would be written twice for
//! nothing, a page for each recipient in every commit. Those that stay are moved there, many at once. The index of this
//! table is a few pages, since it is short; without it whoever reads an inbox would look through everybody's messages.

use crate::sql::integer;
use messenger_core::proto::{Message, UserId};
use rusqlite::{Connection, params};
use std::time::{Duration, Instant};

/// A message with more bytes goes to `messages` at once: to write it twice costs more than an index.
pub(crate) const SHORT: usize = 4096;

/// How many there are at the most: to move all of them takes room on the disk, and nothing else is written meanwhile.
const MOST: usize = 4096;

/// How many are moved at once. A transaction moves no more, unless there are too many, so that nobody waits long for it.
pub(crate) const STEP: usize = 256;

/// How long one stays, or up to twice as long.
const STAYS: Duration = Duration::from_secs(1);

/// What the writer remembers of the table. Which rows are whose, inboxes remember.
#[derive(Debug)]
pub(crate) struct Arrivals {
    count: usize,
    /// The number of the newest; none is given twice.
    newest: i64,
    /// Rows that are to be dropped at the end of the transaction, in any order.
    dropped: Vec<i64>,
    /// Rows up to this number have been there for long.
    old: Option<i64>,
    /// When it was looked at last how old they are, and the number of the newest then.
    looked: (Instant, i64),
}

impl Arrivals {
    /// Of a table that is empty.
    pub(crate) fn none() -> Self {
        Self {
            count: 0,
            newest: 0,
            dropped: Vec::new(),
            old: None,
            looked: (Instant::now(), 0),
        }
    }

    /// Adds a message under its sequence number; the number of its row.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        message: &Message,
        seq: i64,
    ) -> rusqlite::Result<i64> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO arrivals
             (number, recipient, seq, id, sender, nick, time, body, mime, attachment, size)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let number = self.newest + 1;
        insert.execute(params![
            number,
            message.to.as_str(),
            seq,
            message.id.as_str(),
            message.from.as_str(),
            &*message.nick,
            integer(message.time),
            message.body.as_str(),
            &*message.attach.mime,
            message.attach.data.as_str(),
            integer(message.size()),
        ])?;
        self.newest = number;
        self.count += 1;
        Ok(number)
    }

    /// These are to be dropped at the end of the transaction.
    pub(crate) fn drop_soon(&mut self, numbers: impl IntoIterator<Item = i64>) {
        self.dropped.extend(numbers);
    }

    /// Drops them.
    pub(crate) fn drop_now(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        self.count = self.count.saturating_sub(self.dropped.len());
        self.dropped.sort_unstable();
        let mut delete =
            connection.prepare_cached("DELETE FROM arrivals WHERE number BETWEEN ?1 AND ?2")?;
        for run in self.dropped.chunk_by(|one, next| one + 1 == *next) {
            delete.execute(params![run.first(), run.last()])?;
        }
        self.dropped.clear();
        Ok(())
    }

    /// Up to which number some are to be moved, if it is time for that.
    pub(crate) fn due(&mut self) -> Option<i64> {
        let now = Instant::now();
        let (looked, newest) = self.looked;
        if now.duration_since(looked) >= STAYS {
            self.old = Some(newest);
            self.looked = (now, self.newest);
        }
        match self.count {
            0 => None,
            _ => self.old,
        }
    }

    pub(crate) fn are_too_many(&self) -> bool {
        self.count > MOST
    }

    /// Moves the oldest of those up to this number, [so many](STEP) at the most; to whom they were sent.
    pub(crate) fn move_some(
        &mut self,
        connection: &Connection,
        up_to: i64,
    ) -> rusqlite::Result<Vec<UserId>> {
        let mut select = connection.prepare_cached(
            "SELECT number, recipient FROM arrivals WHERE number <= ?1 ORDER BY number LIMIT ?2",
        )?;
        let mut rows = select.query(params![up_to, integer(STEP)])?;
        let (mut last, mut recipients) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            recipients.push(row.get::<_, String>(1)?.into());
        }
        if let Some(last) = last {
            move_up_to(connection, last)?;
        }
        if recipients.len() < STEP {
            self.old = None;
        }
        self.count = self.count.saturating_sub(recipients.len());
        Ok(recipients)
    }
}

/// Moves all, of which the writer remembers nothing. What inboxes say of themselves stays true: they count what came
/// behind their newest.
pub(crate) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    let mut is_any = connection.prepare_cached("SELECT 1 FROM arrivals")?;
    if !is_any.exists([])? {
        return Ok(());
    }
    // So that the purge finds the first of an inbox, unless that lies in `messages` already and was noted when it was moved.
    let note = "INSERT INTO inboxes (user, oldest, oldest_time)
                SELECT recipient, min(seq), min(time) FROM arrivals WHERE true GROUP BY recipient
                ON CONFLICT (user) DO UPDATE SET oldest = excluded.oldest, oldest_time = excluded.oldest_time
                WHERE kept = 0 AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.recipient = excluded.user)";
    connection.execute(note, [])?;
    move_up_to(connection, i64::MAX)
}

fn move_up_to(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    // Only of a store that was damaged one may be there already.
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO messages
         (recipient, seq, id, sender, nick, time, size, body, mime, attachment)
         SELECT recipient, seq, id, sender, nick, time, size, body, mime, attachment FROM arrivals
         WHERE number <= ?1 ORDER BY number",
    )?;
    insert.execute([last])?;
    let mut delete = connection.prepare_cached("DELETE FROM arrivals WHERE number <= ?1")?;
    delete.execute([last]).map(drop)
}
