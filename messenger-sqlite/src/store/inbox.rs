//! Inboxes.

use super::mids::Mid;
use crate::fault::{Fault, refused};
use crate::inboxes::Inbox;
use crate::sql::{integer, unsigned};
use crate::writer::Writing;
use messenger_core::proto::{Attachment, Message, UserId};
use messenger_core::storage::{
    AppendError, Appended, NewMessage, Overflow, PageLimits, StorageError,
};
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
        disk,
        ..
    } = writing;
    let to = &new.message.to;
    if let Some(sender) = new.sender
        && !inboxes.is_there(connection, sender)?
    {
        return refused(AppendError::NoSuchSender);
    }
    let lost_up_to = inboxes.lost_up_to();
    let Some(inbox) = inboxes.of(connection, to)? else {
        return refused(AppendError::NoSuchUser);
    };
    let mid = new.mid.as_ref().map(|mid| Mid::of(new, mid));
    if let Some(mid) = &mid
        && let Some(first) = mid.find(connection)?
    {
        return first;
    }
    if let Err(low) = disk.admit(new.message.size()) {
        return refused(StorageError::new(low).into());
    }
    let size = integer(new.message.size());
    let (most, most_bytes) = (integer(new.limits.messages), integer(new.limits.bytes));
    if inbox.waiting >= most || inbox.waiting_bytes.saturating_add(size) > most_bytes {
        return refused(AppendError::InboxFull);
    }
    let seq = inbox.newest.max(lost_up_to) + 1;
    insert(connection, &new.message, seq, size)?;
    inbox.count(connection, to, (seq, size, integer(new.message.time)))?;
    let mut dropped = shed(connection, to, inbox, inbox.kept - most, |_| 1)?;
    dropped += shed(connection, to, inbox, inbox.bytes - most_bytes, unsigned)?;
    if let Some(mid) = mid {
        mid.remember(connection)?;
    }
    Ok(Appended::Stored {
        seq: unsigned(seq),
        recipient: inbox.owner,
        dropped,
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

/// Everything up to this sequence number is delivered to a session.
pub(super) fn advance(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    delivered_up_to: i64,
) -> rusqlite::Result<()> {
    if delivered_up_to > inbox.delivered_up_to {
        take_from_waiting(connection, user, inbox, delivered_up_to)?;
        inbox.delivered_up_to = delivered_up_to;
    }
    Ok(())
}

/// Drops as much of what is delivered to some session, of the senders who have most of it, if there is as much. How many
/// messages.
fn shed(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    excess: i64,
    weight: fn(i64) -> u64,
) -> rusqlite::Result<u64> {
    if excess <= 0 {
        return Ok(0);
    }
    let mut select = connection.prepare_cached(
        "SELECT seq, sender, size FROM messages WHERE recipient = ?1 AND seq <= ?2 ORDER BY seq",
    )?;
    let given = select.query_map(params![user.as_str(), inbox.delivered_up_to], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let given = given.collect::<rusqlite::Result<Vec<(i64, String, i64)>>>()?;
    let weights = given
        .iter()
        .map(|(_, sender, size)| (sender, weight(*size)));
    let mut overflow = Overflow::new(weights, unsigned(excess));
    let mut delete =
        connection.prepare_cached("DELETE FROM messages WHERE recipient = ?1 AND seq = ?2")?;
    let mut dropped = 0;
    for (seq, sender, size) in &given {
        if overflow.takes(&sender, weight(*size)) {
            delete.execute(params![user.as_str(), seq])?;
            inbox.kept -= 1;
            inbox.bytes -= size;
            dropped += 1;
        }
    }
    note_oldest(connection, user, inbox)?;
    inbox.write(connection, user)?;
    Ok(dropped)
}

/// Drops some of what is delivered to every session.
pub(super) fn prune(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
) -> rusqlite::Result<()> {
    let to = inbox.delivered_to_all;
    if to < inbox.oldest {
        return Ok(());
    }
    let mut select = connection.prepare_cached(
        "SELECT seq FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT 1 OFFSET ?2",
    )?;
    let last = match inbox.kept > DROPPED_AT_ONCE {
        true => select
            .query_row(params![user.as_str(), DROPPED_AT_ONCE - 1], |row| {
                row.get::<_, i64>(0)
            })
            .optional()?,
        false => None,
    };
    drop_up_to(
        connection,
        user,
        inbox,
        last.map_or(to, |last| to.min(last)),
    )
}

/// Drops the messages up to this sequence number.
pub(super) fn drop_up_to(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    place: i64,
) -> rusqlite::Result<()> {
    if place > inbox.delivered_up_to {
        take_from_waiting(connection, user, inbox, place)?;
    }
    let (count, bytes) = count_between(connection, user, inbox, inbox.oldest - 1, place)?;
    inbox.kept -= count;
    inbox.bytes -= bytes;
    let mut delete =
        connection.prepare_cached("DELETE FROM messages WHERE recipient = ?1 AND seq <= ?2")?;
    delete.execute(params![user.as_str(), place])?;
    note_oldest(connection, user, inbox)
}

/// What was delivered to no session, up to this sequence number, does not wait any more.
fn take_from_waiting(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    place: i64,
) -> rusqlite::Result<()> {
    let (count, bytes) = count_between(connection, user, inbox, inbox.delivered_up_to, place)?;
    inbox.waiting -= count;
    inbox.waiting_bytes -= bytes;
    Ok(())
}

/// Finds out which message is the oldest now.
fn note_oldest(connection: &Connection, user: &UserId, inbox: &mut Inbox) -> rusqlite::Result<()> {
    let nothing = (inbox.newest + 1, 0);
    if inbox.kept == 0 {
        (inbox.oldest, inbox.oldest_time) = nothing;
        return Ok(());
    }
    let mut select = connection.prepare_cached(
        "SELECT seq, time FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT 1",
    )?;
    let oldest = select.query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    (inbox.oldest, inbox.oldest_time) = oldest.optional()?.unwrap_or(nothing);
    Ok(())
}

/// How many messages stand above one sequence number, up to another, and their bytes.
fn count_between(
    connection: &Connection,
    user: &UserId,
    inbox: &Inbox,
    behind: i64,
    to: i64,
) -> rusqlite::Result<(i64, i64)> {
    // Most often a recipient is given all there is, and all is known.
    if to == inbox.newest && behind < inbox.oldest {
        return Ok((inbox.kept, inbox.bytes));
    }
    if to == inbox.newest && behind == inbox.delivered_up_to {
        return Ok((inbox.waiting, inbox.waiting_bytes));
    }
    let mut select = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(size), 0) FROM messages
         WHERE recipient = ?1 AND seq > ?2 AND seq <= ?3",
    )?;
    select.query_row(params![user.as_str(), behind, to], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
