//! Inboxes.

use super::mids::Mid;
use crate::arrivals::{self, SHORT};
use crate::fault::{Fault, refused};
use crate::inboxes::{Inbox, Inboxes};
use crate::messages;
use crate::recent::{self, Recent};
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
        is_server,
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
    let (seq, recipient) = (inbox.newest.max(lost_up_to) + 1, inbox.owner);
    let has_room = inbox.kept < most && inbox.bytes.saturating_add(size) <= most_bytes;
    // The server's readers know what has come to the server, and not what has come beside it.
    let may_arrive = *is_server && inbox.keeps_up && new.message.size() <= SHORT;
    let dropped = if has_room && may_arrive && inboxes.have_room() {
        inboxes.arrive(&new.message, seq);
        0
    } else {
        if !has_room {
            // What is dropped is looked for among those that stay.
            inboxes.settle_inbox(connection, to, usize::MAX)?;
        }
        insert_and_shed(connection, inboxes, new, seq)?
    };
    if let Some(mid) = mid {
        mid.remember(connection)?;
    }
    Ok(Appended::stored(unsigned(seq), recipient).dropped(dropped))
}

/// Adds a message among those that stay, and drops what there is no room for beside it. How many.
fn insert_and_shed(
    connection: &Connection,
    inboxes: &mut Inboxes,
    new: &NewMessage,
    seq: i64,
) -> Result<u64, Fault<AppendError>> {
    let to = &new.message.to;
    let size = integer(new.message.size());
    let (most, most_bytes) = (integer(new.limits.messages), integer(new.limits.bytes));
    let Some(inbox) = inboxes.of(connection, to)? else {
        return refused(AppendError::NoSuchUser);
    };
    messages::insert(connection, &new.message, seq)?;
    inbox.count(connection, to, (seq, size, integer(new.message.time)))?;
    let dropped = shed(connection, to, inbox, inbox.kept - most, |_| 1)?;
    Ok(dropped + shed(connection, to, inbox, inbox.bytes - most_bytes, unsigned)?)
}

/// What has just come for a page. It is to be looked up before the connection reads anything of the inbox.
pub(super) fn recent(
    recent: &Recent,
    user: &UserId,
    after: u64,
    page: PageLimits,
) -> recent::Found {
    recent.of(user, integer(after), page.messages)
}

/// Reads a page, with what of it has just come, in a transaction.
pub(super) fn read(
    connection: &Connection,
    user: &UserId,
    after: u64,
    page: PageLimits,
    recent: recent::Found,
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
    if !found.is_empty() {
        // Some of these may have come since that was looked up, and before them others, which do not lie here.
        let since = arrivals::since(connection, recent.row, user)?.into_iter();
        let since = since.map(|(seq, message)| (unsigned(seq), message));
        found.extend(since.filter(|(seq, _)| *seq > after));
    }
    let recent = recent.of(connection, user)?.into_iter();
    found.extend(recent.map(|(seq, message)| (unsigned(seq), (*message).clone())));
    Ok(first_of(found, page))
}

/// A page of messages in any order. Of those that were moved meanwhile there are two.
fn first_of(mut messages: Vec<(u64, Message)>, page: PageLimits) -> Vec<(u64, Message)> {
    messages.sort_by_key(|(seq, _)| *seq);
    messages.dedup_by_key(|(seq, _)| *seq);
    let mut bytes = 0;
    let fit = messages.iter().take_while(|(_, message)| {
        let fits = bytes < page.bytes;
        bytes += message.size();
        fits
    });
    let count = fit.count().min(page.messages);
    messages.truncate(count);
    messages
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

/// Drops some of what is delivered to every session; see [`drop_up_to`] for what is returned.
pub(super) fn prune(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
) -> rusqlite::Result<Vec<i64>> {
    let to = inbox.delivered_to_all;
    if to < inbox.oldest {
        return Ok(Vec::new());
    }
    let mut select = connection.prepare_cached(
        "SELECT seq FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT 1 OFFSET ?2",
    )?;
    let last = match inbox.settled() > DROPPED_AT_ONCE {
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

/// Drops the messages up to this sequence number. Those that lie in `arrivals` are left to
/// [`left`](Inboxes::left): the numbers of their rows.
pub(super) fn drop_up_to(
    connection: &Connection,
    user: &UserId,
    inbox: &mut Inbox,
    place: i64,
) -> rusqlite::Result<Vec<i64>> {
    if place > inbox.delivered_up_to {
        take_from_waiting(connection, user, inbox, place)?;
    }
    let (count, bytes) = count_between(connection, user, inbox, inbox.oldest - 1, place)?;
    if inbox.settled() != 0 {
        let mut delete =
            connection.prepare_cached("DELETE FROM messages WHERE recipient = ?1 AND seq <= ?2")?;
        delete.execute(params![user.as_str(), place])?;
    }
    let arrived = inbox.take_arrived(place);
    inbox.kept -= count;
    inbox.bytes -= bytes;
    note_oldest(connection, user, inbox)?;
    Ok(arrived)
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
    let mut oldest = inbox.oldest_arrived();
    if inbox.settled() != 0 {
        let mut select = connection.prepare_cached(
            "SELECT seq, time FROM messages WHERE recipient = ?1 ORDER BY seq LIMIT 1",
        )?;
        let settled = select.query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
        oldest = settled.optional()?.into_iter().chain(oldest).min();
    }
    (inbox.oldest, inbox.oldest_time) = oldest.unwrap_or((inbox.newest + 1, 0));
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
    let (count, bytes) = inbox.arrived_between(behind, to);
    if inbox.settled() == 0 {
        return Ok((count, bytes));
    }
    let mut select = connection.prepare_cached(
        "SELECT ?4 + count(*), ?5 + coalesce(sum(size), 0) FROM messages
         WHERE recipient = ?1 AND seq > ?2 AND seq <= ?3",
    )?;
    select.query_row(params![user.as_str(), behind, to, count, bytes], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}
