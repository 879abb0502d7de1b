//! Inboxes.

use super::mids::Mid;
use crate::fault::{Fault, refused};
use crate::inboxes::Inbox;
use crate::sql::{integer, unsigned};
use crate::writer::Writing;
use messenger_core::proto::{Attachment, Message, UserId};
use messenger_core::storage::{AppendError, Appended, NewMessage, PageLimits};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How many messages are dropped at once, so that nobody waits long for it.
const DROPPED_AT_ONCE: i64 = 512;

pub(super) fn append(
    writing: &mut Writing<'_>,
    new: &NewMessage,
) -> Result<Appended, Fault<AppendError>> {
    let Writing {
        connection,
        inboxes,
        ..
    } = writing;
    let to = &new.message.to;
    if let Some(sender) = new.sender
        && !inboxes.is_there(connection, sender)?
    {
        return refused(AppendError::NoSuchSender);
    }
    let Some(inbox) = inboxes.of(connection, to)? else {
        return refused(AppendError::NoSuchUser);
    };
    let mid = new.mid.as_ref().map(|mid| Mid::of(new, mid));
    if let Some(mid) = &mid
        && let Some(first) = mid.find(connection)?
    {
        return first;
    }
    let size = integer(new.message.size());
    let (most, most_bytes) = (integer(new.limits.messages), integer(new.limits.bytes));
    if inbox.waiting() >= most || inbox.waiting_bytes.saturating_add(size) > most_bytes {
        return refused(AppendError::InboxFull);
    }
    insert(connection, &new.message, inbox.newest + 1, size)?;
    inbox.count(connection, to, size, integer(new.message.time))?;
    while inbox.kept() > most || inbox.bytes > most_bytes {
        let oldest = inbox.oldest;
        drop_up_to(connection, to, inbox, oldest)?;
        inbox.write(connection, to)?;
    }
    if let Some(mid) = mid {
        mid.remember(connection)?;
    }
    Ok(Appended::Stored {
        seq: unsigned(inbox.newest),
        recipient: inbox.owner,
    })
}

fn insert(connection: &Connection, message: &Message, seq: i64, size: i64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages
         (recipient, seq, id, sender, nick, time, body, mime, attachment, size)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let row = params![
        message.to.as_str(),
        seq,
        message.id.as_str(),
        message.from.as_str(),
        &*message.nick,
        integer(message.time),
        message.body.as_str(),
        &*message.attach.mime,
        message.attach.data.as_str(),
        size,
    ];
    insert.execute(row).map(drop)
}

pub(super) fn read(
    connection: &Connection,
    user: &UserId,
    after: u64,
    page: PageLimits,
) -> rusqlite::Result<Vec<(u64, Message)>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, id, sender, nick, time, body, mime, attachment FROM messages
         WHERE recipient = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let most = integer(page.messages);
    let mut rows = select.query(params![user.as_str(), integer(after), most])?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while bytes < page.bytes
        && let Some(row) = rows.next()?
    {
        let (seq, message) = message(row, user)?;
        bytes += message.size();
        found.push((seq, message));
    }
    Ok(found)
}

fn message(row: &Row<'_>, recipient: &UserId) -> rusqlite::Result<(u64, Message)> {
    let text = |index| row.get::<_, String>(index);
    let message = Message::new(text(1)?, text(2)?, recipient.clone(), unsigned(row.get(4)?))
        .nick(text(3)?)
        .body(text(5)?)
        .attach(Attachment::new(text(6)?, text(7)?));
    Ok((unsigned(row.get(0)?), message))
}

/// A session was given everything up to this place.
pub(super) fn advance(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    delivered_up_to: i64,
) -> rusqlite::Result<()> {
    if delivered_up_to > inbox.delivered_up_to {
        inbox.waiting_bytes -= size_between(
            connection,
            user,
            inbox,
            inbox.delivered_up_to,
            delivered_up_to,
        )?;
        inbox.delivered_up_to = delivered_up_to;
    }
    Ok(())
}

/// Drops some of what every session was given.
pub(super) fn prune(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
) -> rusqlite::Result<()> {
    let to = inbox
        .delivered_to_all
        .min(inbox.oldest + DROPPED_AT_ONCE - 1);
    if to >= inbox.oldest {
        drop_up_to(connection, user, inbox, to)?;
    }
    Ok(())
}

/// Drops the messages up to this place.
pub(super) fn drop_up_to(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    place: i64,
) -> rusqlite::Result<()> {
    if place > inbox.delivered_up_to {
        inbox.waiting_bytes -= size_between(connection, user, inbox, inbox.delivered_up_to, place)?;
    }
    inbox.bytes -= size_between(connection, user, inbox, inbox.oldest - 1, place)?;
    let mut delete =
        connection.prepare_cached("DELETE FROM messages WHERE recipient = ?1 AND seq <= ?2")?;
    delete.execute(params![user.as_str(), place])?;
    inbox.oldest = place + 1;
    inbox.oldest_time = match inbox.kept() {
        0 => 0,
        _ => accepted_at(connection, user, inbox.oldest)?,
    };
    Ok(())
}

fn accepted_at(connection: &Connection, user: &UserId, seq: i64) -> rusqlite::Result<i64> {
    let mut select =
        connection.prepare_cached("SELECT time FROM messages WHERE recipient = ?1 AND seq = ?2")?;
    let time = select.query_row(params![user.as_str(), seq], |row| row.get(0));
    Ok(time.optional()?.unwrap_or(0))
}

/// The bytes of the messages behind one place, up to another.
fn size_between(
    connection: &Connection,
    user: &UserId,
    inbox: &Inbox,
    behind: i64,
    to: i64,
) -> rusqlite::Result<i64> {
    // Most often a recipient is given all there is, and all is known.
    if to == inbox.newest && behind < inbox.oldest {
        return Ok(inbox.bytes);
    }
    if to == inbox.newest && behind == inbox.delivered_up_to {
        return Ok(inbox.waiting_bytes);
    }
    let mut select = connection.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM messages WHERE recipient = ?1 AND seq > ?2 AND seq <= ?3",
    )?;
    select.query_row(params![user.as_str(), behind, to], |row| row.get(0))
}
