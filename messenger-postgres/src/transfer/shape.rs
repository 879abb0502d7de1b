//! How what is moved stands in the tables of this store.

use Kind::{Bytes, Number, Text};
use messenger_core::storage::transfer::Table;

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Number,
    Text,
    Bytes,
}

/// A table: the kinds of the columns that are moved, and how they are written (each an array, `$1` first) and read.
pub(super) struct Shape {
    pub(super) kinds: &'static [Kind],
    pub(super) insert: &'static str,
    pub(super) select: &'static str,
}

impl Shape {
    pub(super) fn of(table: Table) -> Self {
        match table {
            Table::Users => Self {
                kinds: &[
                    Number, Text, Text, Text, Text, Text, Text, Text, Text, Text, Text, Number,
                ],
                insert: "INSERT INTO users (no, login, nick, pass_hash, email, phone, user_status, email_key, phone_key,
                         picture, skeleton, ephemeral_ended) OVERRIDING SYSTEM VALUE
                     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                select: "SELECT no, login, nick, pass_hash, email, phone, user_status, email_key, phone_key,
                         picture, skeleton, ephemeral_ended FROM users",
            },
            Table::Contacts => Self {
                kinds: &[Number, Number, Number],
                insert: "INSERT INTO contacts (number, owner_no, contact_no) OVERRIDING SYSTEM VALUE
                     SELECT * FROM unnest($1, $2, $3)",
                select: "SELECT number, owner_no, contact_no FROM contacts",
            },
            Table::Remembered => Self {
                kinds: &[Number, Number, Text],
                insert: "INSERT INTO myids (owner_no, user_no, myid) SELECT * FROM unnest($1, $2, $3)",
                select: "SELECT owner_no, user_no, myid FROM myids",
            },
            Table::Inboxes => Self {
                kinds: &[
                    Number, Number, Number, Number, Number, Number, Number, Number,
                ],
                insert: "INSERT INTO inboxes (user_no, newest, given, kept, bytes, waiting, waiting_bytes, oldest_time)
                     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
                select: "SELECT user_no, newest, given, kept, bytes, waiting, waiting_bytes, oldest_time FROM inboxes",
            },
            Table::Sessions => Self {
                kinds: &[Number, Bytes, Number, Number, Number],
                insert: "INSERT INTO sessions (user_no, key, given, ack, used_us, aged_us)
                     SELECT user_no, key, given, ack <> 0, used_us, used_us
                     FROM unnest($1, $2, $3, $4, $5) AS new (user_no, key, given, ack, used_us)",
                select: "SELECT user_no, key, given, ack::integer::bigint, used_us FROM sessions",
            },
            Table::Messages => Self {
                kinds: &[
                    Number, Number, Number, Number, Text, Text, Text, Text, Text, Text,
                ],
                insert: "INSERT INTO messages (user_no, seq, size, time, id, sender, nick, body, mime, attachment)
                     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                select: "SELECT user_no, seq, size, time, id, sender, nick, body, mime, attachment FROM messages",
            },
            Table::Mids => Self {
                kinds: &[Number, Number, Text, Bytes, Number, Text, Number],
                insert: "INSERT INTO mids (user_no, sender_no, mid, digest, used_us, id, time)
                     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)",
                select: "SELECT user_no, sender_no, mid, digest, used_us, id, time FROM mids",
            },
        }
    }
}
