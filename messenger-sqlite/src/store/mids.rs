//! The senders' own ids for their messages.

use crate::fault::{Fault, refused};
use crate::sql::{integer, unsigned};
use messenger_core::proto::UserId;
use messenger_core::storage::{AppendError, Appended, NewMessage};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// How many are looked at in a step when a sender is deleted, so that no other call waits long for it.
const LOOKED_AT: i64 = 16_384;

/// A message's `mid`.
pub(super) struct Mid<'a> {
    new: &'a NewMessage,
    mid: &'a str,
    digest: [u8; 32],
}

impl<'a> Mid<'a> {
    pub(super) fn of(new: &'a NewMessage, mid: &'a str) -> Self {
        let digest = new.digest();
        Self { new, mid, digest }
    }

    /// The answer, if the `mid` was used before.
    pub(super) fn find(
        &self,
        connection: &Connection,
    ) -> rusqlite::Result<Option<Result<Appended, Fault<AppendError>>>> {
        let mut select = connection.prepare_cached(
            "SELECT id, time, digest FROM mids
             WHERE recipient = ?1 AND sender = ?2 AND mid = ?3 AND used_us >= ?4",
        )?;
        let message = &self.new.message;
        let key = params![
            message.to.as_str(),
            message.from.as_str(),
            self.mid,
            integer(self.new.mid_forgotten_before.as_micros()),
        ];
        let first = select.query_row(key, |row| {
            let digest: Option<[u8; 32]> = row.get(2)?;
            if digest.is_some_and(|first| first != self.digest) {
                return Ok(refused(AppendError::MidReused));
            }
            let id: String = row.get(0)?;
            Ok(Ok(Appended::duplicate(id, unsigned(row.get(1)?))))
        });
        first.optional()
    }

    pub(super) fn remember(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO mids (recipient, sender, mid, used_us, id, time, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let message = &self.new.message;
        let row = params![
            message.to.as_str(),
            message.from.as_str(),
            self.mid,
            integer(self.new.now.as_micros()),
            message.id.as_str(),
            integer(message.time),
            self.digest,
        ];
        insert.execute(row).map(drop)
    }
}

/// To whom a user has sent under a `mid`, as far as a reader has come.
///
/// By sender they have no index, which would cost each message half as much again. So a reader goes through all of them,
/// the oldest first and some at a time, while everybody goes on, and the writer looks at the last ones.
pub(super) struct SentUnderMids {
    sender: UserId,
    recipients: BTreeSet<String>,
    /// Those that were used before this are looked at, in microseconds.
    before: i64,
    is_whole: bool,
}

impl SentUnderMids {
    pub(super) fn by(sender: UserId) -> Self {
        Self {
            sender,
            recipients: BTreeSet::new(),
            before: 0,
            is_whole: false,
        }
    }

    /// True when no more are left than the writer may look at.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Looks at some more.
    pub(super) fn go_on(mut self, connection: &Connection) -> rusqlite::Result<Self> {
        let mut end = connection.prepare_cached(
            "SELECT used_us FROM mids WHERE used_us >= ?1 ORDER BY used_us LIMIT 1 OFFSET ?2",
        )?;
        let end = end.query_row([self.before, LOOKED_AT], |row| row.get(0));
        let Some(end) = end.optional()? else {
            self.is_whole = true;
            return Ok(self);
        };
        // All of one moment are looked at together.
        let end = (self.before + 1).max(end);
        let mut select = connection.prepare_cached(
            "SELECT DISTINCT recipient FROM mids WHERE used_us >= ?1 AND used_us < ?2 AND sender = ?3",
        )?;
        let key = params![self.before, end, self.sender.as_str()];
        for recipient in select.query_map(key, |row| row.get(0))? {
            self.recipients.insert(recipient?);
        }
        self.before = end;
        Ok(self)
    }
}

/// Forgets the `mid`s of a user who is no more.
pub(super) fn forget_sender(connection: &Connection, sent: &SentUnderMids) -> rusqlite::Result<()> {
    let user = sent.sender.as_str();
    let mut delete =
        connection.prepare_cached("DELETE FROM mids WHERE recipient = ?1 AND sender = ?2")?;
    for recipient in &sent.recipients {
        delete.execute([recipient, user])?;
    }
    let since = "DELETE FROM mids WHERE used_us >= ?1 AND sender = ?2";
    connection
        .execute(since, params![sent.before, user])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    /// More than are looked at in two steps; ann has sent one of the first, one in the middle, and the last.
    const FILL: &str = "
        WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 39999)
        INSERT INTO mids SELECT 'user' || n, iif(n IN (1, 20000, 39999), 'ann', 'stranger'), n, n, n, n, NULL
        FROM numbers;";

    fn store(fill: &str) -> Connection {
        let mut store = Connection::open_in_memory().unwrap();
        format::upgrade(&mut store, format::VERSION).unwrap();
        store.execute_batch(fill).unwrap();
        store
    }

    #[test]
    fn what_a_user_has_sent_is_found_so_many_at_a_time() {
        let store = store(FILL);
        let mut sent = SentUnderMids::by("ann".into());
        for found in [&["user1"][..], &["user1", "user20000"]] {
            sent = sent.go_on(&store).unwrap();
            assert!(!sent.is_whole());
            assert!(sent.recipients.iter().eq(found));
        }
        assert_eq!(sent.before, 2 * LOOKED_AT);
        sent = sent.go_on(&store).unwrap();
        assert!(sent.is_whole());
        forget_sender(&store, &sent).unwrap();
        let left = "SELECT count(*), count(*) FILTER (WHERE sender = 'ann') FROM mids";
        let left = store.query_row(left, [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(left, Ok((39_997, 0)));
    }

    #[test]
    fn more_of_one_moment_than_a_step_looks_at_are_looked_at_together() {
        let store = store(FILL);
        store.execute("UPDATE mids SET used_us = 0", []).unwrap();
        let sent = SentUnderMids::by("ann".into()).go_on(&store).unwrap();
        assert_eq!(sent.recipients.len(), 3);
        assert!(sent.go_on(&store).unwrap().is_whole());
    }
}
