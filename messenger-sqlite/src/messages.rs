//! The table of the messages that stay.

use crate::sql::integer;
use messenger_core::proto::Message;
use rusqlite::{Connection, params};

macro_rules! into_messages {
    ($insert:literal) => {
        concat!(
            $insert,
            " INTO messages
             (recipient, seq, id, sender, nick, time, body, mime, attachment, size)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        )
    };
}

/// Adds a message under its sequence number.
pub(crate) fn insert(connection: &Connection, message: &Message, seq: i64) -> rusqlite::Result<()> {
    execute(connection, into_messages!("INSERT"), message, seq)
}

/// The same, unless it is there already, as in a store that was damaged.
pub(crate) fn insert_missing(
    connection: &Connection,
    message: &Message,
    seq: i64,
) -> rusqlite::Result<()> {
    execute(connection, into_messages!("INSERT OR IGNORE"), message, seq)
}

fn execute(
    connection: &Connection,
    insert: &str,
    message: &Message,
    seq: i64,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(insert)?;
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
        integer(message.size()),
    ];
    insert.execute(row).map(drop)
}
