//! What the engine asks about sessions that it may have to tell something, and what it is told.

use super::{Owner, SessionKey, SessionRecord};
use bytestring::ByteString;

/// A session that a client comes back to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResumedSession {
    /// What is kept of the session.
    pub record: SessionRecord,
    /// Its user's nick.
    pub nick: ByteString,
}

impl ResumedSession {
    /// This session, of a user of this nick.
    pub fn new(record: SessionRecord, nick: impl Into<ByteString>) -> Self {
        Self {
            record,
            nick: nick.into(),
        }
    }
}

/// The most sessions that the engine [looks](super::Storage::look) for in one call.
pub const LOOKED_AT_ONCE: usize = 1000;

/// Which session is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Look {
    /// Whose.
    pub owner: Owner,
    /// Which. `None` for one that the store was not told of: it is there as long as its user is, and no later one of
    /// the same id, and until [all like it are ended](super::Storage::end_ephemeral).
    pub session: Option<SessionKey>,
    /// How often all like it [had been ended](super::Storage::ephemeral_ended) when it began; 0 for any other.
    pub ephemeral_ended: u64,
}

impl Look {
    /// For this session of this user.
    pub fn new(owner: Owner, session: Option<SessionKey>) -> Self {
        Self {
            owner,
            session,
            ephemeral_ended: 0,
        }
    }

    /// How often the user's ephemeral sessions had been ended when this one began.
    #[must_use]
    pub fn ephemeral_ended(mut self, ephemeral_ended: u64) -> Self {
        self.ephemeral_ended = ephemeral_ended;
        self
    }
}

/// What a [look](super::Storage::look) has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// The session has ended.
    Ended,
    /// It is there.
    There {
        /// The sequence number of the newest message that its user's inbox ever had.
        newest: u64,
    },
}
