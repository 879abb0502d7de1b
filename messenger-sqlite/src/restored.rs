//! Stores that are older copies of one that was lost.
//!
//! What the lost one gave after the copy was made is not in the copy, and clients remember its numbers: they would
//! drop new messages under the same ones as seen. So the numbers of all inboxes of a restored store go on behind the
//! microseconds since 1970, when it was restored. However often and from whichever copy that is done, numbers are
//! new: an inbox is not given a message each microsecond. Should the clock have been ahead the last time, they go on so far
//! beyond that one that no inbox was given as many since. They stay below 2^53 until the year 2255.

use crate::sql::integer;
use messenger_core::clock::{Clock, SystemClock};
use rusqlite::{Connection, OptionalExtension, params};

/// More messages than an inbox is given between two restores.
const ENOUGH: i64 = 1_000_000;

/// Has numbers go on beyond any that another copy of the store can have given until now.
pub(crate) fn jump(connection: &Connection) -> rusqlite::Result<()> {
    let now = integer(SystemClock.now().as_micros());
    let set = "INSERT INTO about (name, value) VALUES ('lost up to', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let number = match lost_up_to(connection)? {
        0 => now,
        before => now.max(before + ENOUGH),
    };
    let number = number.to_string();
    connection.execute(set, [number]).map(drop)
}

/// Up to where sequence numbers may have been used by a store that was lost.
pub(crate) fn lost_up_to(connection: &Connection) -> rusqlite::Result<i64> {
    let select = "SELECT CAST(value AS INTEGER) FROM about WHERE name = 'lost up to'";
    let found = connection.query_row(select, params![], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(0))
}
