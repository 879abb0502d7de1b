//! The senders' own ids for their messages.

use crate::fault::{Fault, refused};
use crate::sql::{integer, unsigned};
use messenger_core::proto::UserId;
use messenger_core::storage::{AppendError, Appended, NewMessage};
use rusqlite::{Connection, OptionalExtension, params};

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
            Ok(Ok(Appended::Duplicate {
                id: row.get::<_, String>(0)?.into(),
                time: unsigned(row.get(1)?),
            }))
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

/// To whom a user has sent under a `mid`.
///
/// By sender they have no index, which would cost each message half as much again. So a reader looks for them while
/// everybody goes on, and the writer for those alone that have come since.
pub(super) struct SentUnderMids {
    recipients: Vec<String>,
    /// When the newest of anybody was used.
    newest: i64,
}

pub(super) fn sent_by(connection: &Connection, user: &UserId) -> rusqlite::Result<SentUnderMids> {
    // As they were at one moment.
    let connection = &connection.unchecked_transaction()?;
    let newest = "SELECT coalesce(max(used_us), 0) FROM mids";
    let newest = connection.query_row(newest, [], |row| row.get(0))?;
    let mut select =
        connection.prepare_cached("SELECT DISTINCT recipient FROM mids WHERE sender = ?1")?;
    let recipients = select.query_map([user.as_str()], |row| row.get(0))?;
    Ok(SentUnderMids {
        recipients: recipients.collect::<rusqlite::Result<_>>()?,
        newest,
    })
}

/// Forgets the `mid`s of a user who is no more.
pub(super) fn forget_sender(
    connection: &Connection,
    user: &UserId,
    sent: &SentUnderMids,
) -> rusqlite::Result<()> {
    let user = user.as_str();
    let mut delete =
        connection.prepare_cached("DELETE FROM mids WHERE recipient = ?1 AND sender = ?2")?;
    for recipient in &sent.recipients {
        delete.execute([recipient, user])?;
    }
    let since = "DELETE FROM mids WHERE used_us >= ?1 AND sender = ?2";
    connection
        .execute(since, params![sent.newest, user])
        .map(drop)
}
