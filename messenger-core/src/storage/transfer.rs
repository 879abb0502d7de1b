//! Moving all that is kept from one store to another: rows, as either end reads and writes them.

use sha2::{Digest, Sha256};
use std::fmt;

/// What is moved, table by table. Users are named by their numbers, which they keep. A store knows every table, or it would
/// leave one behind: so the compiler tells when there comes one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// number, login, nick, hash of the password (nothing when the account is kept elsewhere), email, phone, user status,
    /// email's key, phone's key, picture, skeleton, how often ephemeral sessions were ended.
    Users,
    /// number, owner, contact.
    Contacts,
    /// owner, user, what the owner's address book calls the user.
    Remembered,
    /// user, newest sequence number, highest watermark, messages kept, their bytes, those delivered to no session, the
    /// bytes of those, when the oldest was accepted (seconds since 1970; nothing without messages).
    Inboxes,
    /// user, key, watermark, 1 if the client acknowledges, last use (microseconds since 1970).
    Sessions,
    /// recipient, sequence number, size, time (seconds since 1970), id, sender's login, sender's nick, body, MIME type,
    /// attachment.
    Messages,
    /// recipient, sender (0 for one who is no user), `mid`, digest of the message, last use (microseconds since 1970), id
    /// and time that the message was answered with.
    Mids,
}

impl Table {
    /// All of them, in the order in which they are moved.
    pub const ALL: &[Self] = &[
        Self::Users,
        Self::Contacts,
        Self::Remembered,
        Self::Inboxes,
        Self::Sessions,
        Self::Messages,
        Self::Mids,
    ];
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Users => "users",
            Self::Contacts => "contacts",
            Self::Remembered => "remembered ids",
            Self::Inboxes => "inboxes",
            Self::Sessions => "sessions",
            Self::Messages => "messages",
            Self::Mids => "mids",
        })
    }
}

/// What stands in a row's column. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nothing,
    /// A whole number.
    Number(i64),
    /// A text, in which there may be any character.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// How much memory it takes beside itself, in bytes.
    pub fn size(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing | Self::Number(_) => &[],
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value")
    }
}

/// A row: the columns of its [`Table`].
pub type Row = Vec<Value>;

/// What is kept once, beside the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The highest number that a user was ever given.
    pub users_given: i64,
    /// Up to which sequence number a store may have given messages that was lost; 0 if none was.
    pub lost_up_to: i64,
    /// By which rule the keys of addresses were computed, if any was.
    pub address_rule: Option<String>,
}

/// How many rows there are, and what they are, in whichever order they come. Equal tallies are of equal rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// How many.
    pub rows: u64,
    /// The SHA-256 of every row, one XOR the other.
    pub hash: [u8; 32],
}

impl Tally {
    /// Counts a row in.
    pub fn add(&mut self, row: &[Value]) {
        let mut hasher = Sha256::new();
        for value in row {
            let (kind, number) = match value {
                Value::Nothing => (0, 0),
                Value::Number(number) => (1, *number),
                Value::Text(_) => (2, 0),
                Value::Bytes(_) => (3, 0),
            };
            hasher.update([kind]);
            hasher.update(number.to_be_bytes());
            let bytes = value.bytes();
            hasher.update(bytes.len().to_be_bytes());
            hasher.update(bytes);
        }
        self.rows += 1;
        for (byte, more) in self.hash.iter_mut().zip(hasher.finalize()) {
            *byte ^= more;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}  ", self.rows)?;
        let mut shown = self.hash.iter().take(8);
        shown.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
