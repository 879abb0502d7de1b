//! Messages that have just come: what a commit has accepted is one row.
//!
//! Most are delivered within a moment and dropped again. A row for each, and its place in an index by recipient, would be
//! written and overwritten for nothing. So they are one text in the file, and who is given what is remembered: by the writer
//! ([`Inboxes`](crate::inboxes::Inboxes)) and for readers ([`Recent`](crate::recent::Recent)). Those that stay are moved to
//! `messages`, many at once.

use messenger_core::proto::{Attachment, Message, SharedMessage, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, params};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// A message with more bytes goes to `messages` at once: to write it twice costs more than an index.
pub(crate) const SHORT: usize = 2048;

/// The version since which there are any.
pub(crate) const SINCE: usize = 8;

/// How many are remembered at the most, at up to 3 KiB each.
const MOST: usize = 16_384;

/// Rows are dropped when they come to so many bytes, so that a small commit need not touch another page for a small row.
const DROPPED_FROM: usize = 32 * 1024;

/// How many bytes of rows are dropped at once when nothing is written in their place.
const DROPPED_AT_ONCE: usize = 256 * 1024;

/// A message that has just come.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The number of its row.
    pub(crate) row: i64,
    pub(crate) seq: i64,
    pub(crate) message: SharedMessage,
}

/// A message in a row: recipient, sequence number, id, sender, nick, time, body, mime, attachment.
type Record<T> = (T, i64, T, T, T, u64, T, T, T);

/// The rows, as the writer has left them.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// The number of the row that this transaction writes, if anything comes.
    next: i64,
    /// What is to be in it.
    new: Vec<(i64, SharedMessage)>,
    rows: HashMap<i64, Row>,
    /// How many messages there are in all rows.
    count: usize,
    /// Rows of which no message is here any more, with their bytes.
    empty: VecDeque<(i64, usize)>,
    /// The bytes of all of those.
    empty_bytes: usize,
}

/// A row with messages that are still here.
#[derive(Debug, Default)]
struct Row {
    messages: usize,
    bytes: usize,
}

impl Arrivals {
    /// What lies in the file: `take` is given each message, and says whether it is still here. What comes gets rows behind
    /// this one.
    pub(crate) fn read(
        connection: &Connection,
        behind: i64,
        mut take: impl FnMut(Arrival) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<Self> {
        let mut arrivals = Self {
            next: behind + 1,
            new: Vec::new(),
            rows: HashMap::new(),
            count: 0,
            empty: VecDeque::new(),
            empty_bytes: 0,
        };
        let mut select =
            connection.prepare_cached("SELECT number, messages FROM arrivals ORDER BY number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let text = row.get_ref(1)?.as_str()?;
            let mut messages = 0;
            for (seq, message) in messages_in(text)? {
                let message = SharedMessage::from(message);
                let row = number;
                messages += usize::from(take(Arrival { row, seq, message })?);
            }
            arrivals.count += messages;
            let bytes = text.len();
            match messages {
                0 => arrivals.note_empty(number, bytes),
                _ => drop(arrivals.rows.insert(number, Row { messages, bytes })),
            }
            arrivals.next = arrivals.next.max(number + 1);
        }
        Ok(arrivals)
    }

    /// Adds a message to what this transaction writes.
    pub(crate) fn add(&mut self, seq: i64, message: SharedMessage) -> Arrival {
        self.new.push((seq, message.clone()));
        self.rows.entry(self.next).or_default().messages += 1;
        self.count += 1;
        let row = self.next;
        Arrival { row, seq, message }
    }

    /// A message of this row is not here any more.
    pub(crate) fn leave(&mut self, number: i64) {
        self.count = self.count.saturating_sub(1);
        if let Entry::Occupied(mut row) = self.rows.entry(number) {
            row.get_mut().messages -= 1;
            // More may come in the row that is not written yet.
            if row.get().messages == 0 && number != self.next {
                let bytes = row.remove().bytes;
                self.note_empty(number, bytes);
            }
        }
    }

    fn note_empty(&mut self, number: i64, bytes: usize) {
        self.empty.push_back((number, bytes));
        self.empty_bytes += bytes;
    }

    pub(crate) fn have_room(&self) -> bool {
        self.count < MOST
    }

    /// The number of the row that is written next.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Writes what has come in this transaction, where rows were of which nothing is here any more: of those, about twice
    /// as much as is written is dropped first. (What is deleted is overwritten, which would be written besides.)
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let new = std::mem::take(&mut self.new);
        if new.is_empty() {
            return self.drop_empty(connection, DROPPED_AT_ONCE);
        }
        let number = self.next;
        self.next += 1;
        let Some(row) = self.rows.get_mut(&number) else {
            return Ok(());
        };
        if row.messages == 0 {
            self.rows.remove(&number);
            return Ok(());
        }
        let text = text(&new)?;
        row.bytes = text.len();
        if self.empty_bytes >= DROPPED_FROM {
            self.drop_empty(connection, DROPPED_FROM.max(text.len() * 2))?;
        }
        let mut insert =
            connection.prepare_cached("INSERT INTO arrivals (number, messages) VALUES (?1, ?2)")?;
        insert.execute(params![number, text]).map(drop)
    }

    /// Drops rows of which nothing is here any more, of so many bytes or a little more.
    fn drop_empty(&mut self, connection: &Connection, mut bytes: usize) -> rusqlite::Result<()> {
        let mut delete = connection.prepare_cached("DELETE FROM arrivals WHERE number = ?1")?;
        while bytes > 0
            && let Some((number, its)) = self.empty.pop_front()
        {
            delete.execute([number])?;
            self.empty_bytes -= its;
            bytes = bytes.saturating_sub(its.max(1));
        }
        Ok(())
    }

    /// Drops all rows, of which nothing is here any more.
    pub(crate) fn clear(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.new.clear();
        self.rows.clear();
        self.empty.clear();
        self.empty_bytes = 0;
        self.count = 0;
        self.next += 1;
        let mut delete = connection.prepare_cached("DELETE FROM arrivals")?;
        delete.execute([]).map(drop)
    }
}

fn text(messages: &[(i64, SharedMessage)]) -> rusqlite::Result<String> {
    let records: Vec<Record<&str>> = messages
        .iter()
        .map(|(seq, message)| {
            (
                message.to.as_str(),
                *seq,
                message.id.as_str(),
                message.from.as_str(),
                &*message.nick,
                message.time,
                message.body.as_str(),
                &*message.attach.mime,
                message.attach.data.as_str(),
            )
        })
        .collect();
    serde_json::to_string(&records).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// The messages of a row, with their sequence numbers.
fn messages_in(text: &str) -> rusqlite::Result<impl Iterator<Item = (i64, Message)>> {
    let records: Vec<Record<String>> = serde_json::from_str(text)
        .map_err(|error| Error::FromSqlConversionFailure(1, Type::Text, error.into()))?;
    Ok(records.into_iter().map(message))
}

/// What has come for somebody in rows behind this one, and is still here: for whoever reads, and knows the others.
pub(crate) fn since(
    connection: &Connection,
    row: i64,
    user: &UserId,
) -> rusqlite::Result<Vec<(i64, Message)>> {
    let mut select =
        connection.prepare_cached("SELECT messages FROM arrivals WHERE number > ?1")?;
    let mut rows = select.query([row])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let messages = messages_in(row.get_ref(0)?.as_str()?)?;
        found.extend(messages.filter(|(_, message)| message.to == *user));
    }
    if !found.is_empty() {
        let mut select = connection
            .prepare_cached("SELECT max(oldest, settled + 1) FROM inboxes WHERE user = ?1")?;
        let first: Option<i64> = select
            .query_row([user.as_str()], |row| row.get(0))
            .optional()?;
        found.retain(|(seq, _)| first.is_none_or(|first| *seq >= first));
    }
    Ok(found)
}

fn message(record: Record<String>) -> (i64, Message) {
    let (to, seq, id, from, nick, time, body, mime, data) = record;
    let message = Message::new(id, from, to, time)
        .nick(nick)
        .body(body)
        .attach(Attachment::new(mime, data));
    (seq, message)
}

/// The numbers of rows that cannot be read, of a store that was damaged.
pub(crate) fn unreadable(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection.prepare("SELECT number, messages FROM arrivals")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?;
        if !text.as_str().is_ok_and(|text| messages_in(text).is_ok()) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Drops them; how many.
pub(crate) fn drop_unreadable(connection: &Connection) -> rusqlite::Result<usize> {
    let unreadable = unreadable(connection)?;
    let mut delete = connection.prepare("DELETE FROM arrivals WHERE number = ?1")?;
    let dropped = unreadable.iter().map(|number| delete.execute([number]));
    dropped.sum()
}
