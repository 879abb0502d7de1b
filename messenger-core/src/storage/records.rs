//! What a [`Storage`](super::Storage) takes and gives.

use crate::clock::Timestamp;
use crate::policy::InboxLimits;
use bytestring::ByteString;
use messenger_proto::{Contact, Message, MessageId, Profile, SharedMessage, UserId};
use sha2::{Digest, Sha256};
use std::fmt;

/// Tells a user from all others who have ever had the same id: a number that a store gives only once.
///
/// A user who was deleted may have an open connection for a moment, and somebody else may register under the id
/// meanwhile. What is done for a user is done for this number, so never for the next user of the id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserNumber(pub u64);

/// In whose name something is done: this user's, not that of a later user of the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The user.
    pub user: UserId,
    /// The user's number.
    pub number: UserNumber,
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The login, which is the user's id.
    pub login: UserId,
    /// The name others see.
    pub nick: ByteString,
    /// The password's hash as a PHC string.
    pub pass_hash: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("login", &self.login)
            .field("nick", &self.nick)
            .finish_non_exhaustive()
    }
}

/// All that is kept of a user, but the messages; what the user has sent, and its `mid`s, lie with those it was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserData {
    /// The account is kept here; otherwise by an embedder's authenticator.
    pub has_account: bool,
    /// What the user tells of themselves.
    pub profile: Profile,
    /// The user's contacts in the order they were added.
    pub contacts: Vec<Contact>,
    /// Users found by an import, and what the owner's address book calls them, in no order.
    pub remembered: Vec<(UserId, ByteString)>,
    /// The sessions, in no order; expired ones may be among them.
    pub sessions: Vec<(SessionKey, SessionRecord)>,
    /// The sequence number of the newest message the inbox ever had.
    pub newest: u64,
}

/// New values of profile fields; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileChange {
    /// The line about the user's state of mind.
    pub user_status: Option<ByteString>,
    /// The email address, and the form in which it is found.
    pub email: Option<Address>,
    /// The phone number, and the form in which it is found.
    pub phone: Option<Address>,
    /// The picture.
    pub picture: Option<ByteString>,
}

/// An email address or a phone number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// As the user wrote it; empty when there is none.
    pub text: ByteString,
    /// The form in which it is compared; `None` when it is found by nobody.
    pub key: Option<String>,
}

/// A person to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The owner's own id for the person.
    pub myid: ByteString,
    /// Email addresses in the form in which they are compared; whoever has one of them is found.
    pub emails: Vec<String>,
    /// Phone numbers in the form in which they are compared; so is whoever has one of these.
    pub phones: Vec<String>,
}

/// How much [`Storage::find_users`](super::Storage::find_users) finds and remembers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FindLimits {
    /// The most users for one entry.
    pub matches: usize,
    /// The most bytes the users found take in an answer; those over it are left out.
    pub bytes: usize,
    /// The most ids remembered for an owner; beyond it no new ones are.
    pub remembered: usize,
}

impl FindLimits {
    /// At most so many users for one entry, so many bytes of them, and so many ids remembered.
    pub const fn new(matches: usize, bytes: usize, remembered: usize) -> Self {
        Self {
            matches,
            bytes,
            remembered,
        }
    }
}

/// What a session is found by: a hash of its secret, so that the store cannot give it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub [u8; 32]);

impl fmt::Display for SessionKey {
    /// In full, as hexadecimal digits. A session cannot be resumed with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(
            f,
            "SessionKey({first:02x}{second:02x}{third:02x}{fourth:02x}…)"
        )
    }
}

/// A session to begin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewSession {
    /// Whose.
    pub owner: Owner,
    /// What it will be found by.
    pub key: SessionKey,
    /// True when its client acknowledges what it has processed.
    pub ack: bool,
    /// Now.
    pub now: Timestamp,
    /// Sessions last used before this moment have expired and do not count.
    pub expired_before: Timestamp,
    /// How many sessions a user may have, this one included.
    pub limit: usize,
}

/// A session that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenedSession {
    /// Its watermark, a sequence number: it is to be given the messages above.
    pub delivered_up_to: u64,
    /// The sessions that were ended to make room.
    pub ended: Vec<SessionKey>,
}

/// What is kept of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// Whose it is.
    pub user_number: UserNumber,
    /// Its watermark: messages up to this sequence number are delivered to it.
    pub delivered_up_to: u64,
    /// True when its client acknowledges what it has processed.
    pub ack: bool,
    /// When it was last used.
    pub used: Timestamp,
}

/// A session's new watermark, and its last use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermark {
    /// Whose session.
    pub user: UserId,
    /// Which.
    pub session: SessionKey,
    /// Messages up to this sequence number are delivered to it.
    pub delivered_up_to: u64,
    /// It was last used then.
    pub used: Timestamp,
}

/// A message to append.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewMessage {
    /// The message, with its recipient in `to`.
    pub message: SharedMessage,
    /// Who sends it, who must still be there; `None` for what is put there by nobody who could be deleted.
    pub sender: Option<UserNumber>,
    /// The sender's own id for what it sends to this recipient.
    pub mid: Option<ByteString>,
    /// A `mid` first used before this moment is forgotten.
    pub mid_forgotten_before: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// What the recipient's inbox holds.
    pub limits: InboxLimits,
}

impl NewMessage {
    /// A SHA-256 of the text and the attachment: two messages under one `mid` are the same if theirs are.
    pub fn digest(&self) -> [u8; 32] {
        let Message { body, attach, .. } = &*self.message;
        let mut digest = Sha256::new();
        for part in [body.as_str(), &attach.mime, attach.data.as_str()] {
            // Or a text's end could as well be the beginning of what follows.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Appended {
    /// It stands in the recipient's inbox.
    #[non_exhaustive]
    Stored {
        /// Its sequence number.
        seq: u64,
        /// Who has got it.
        recipient: UserNumber,
        /// How many messages it has pushed out, which sessions that lag will not be given.
        dropped: u64,
    },
    /// The sender has sent it to the recipient before, under the same `mid`; nothing was done.
    #[non_exhaustive]
    Duplicate {
        /// The first one's id.
        id: MessageId,
        /// The first one's time, in whole seconds since the Unix epoch.
        time: u64,
    },
}

impl Appended {
    /// The sequence number of a message that was stored.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Stored { seq, .. } => Some(*seq),
            Self::Duplicate { .. } => None,
        }
    }
}

/// How much [`Storage::inbox`](super::Storage::inbox) reads at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageLimits {
    /// The most messages.
    pub messages: usize,
    /// No further message once those read come to this many bytes.
    pub bytes: usize,
}

impl PageLimits {
    /// At most so many messages, and none after so many bytes.
    pub const fn new(messages: usize, bytes: usize) -> Self {
        Self { messages, bytes }
    }
}

/// What [`Storage::purge_expired`](super::Storage::purge_expired) may drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// Now.
    pub now: Timestamp,
    /// Sessions last used before this moment.
    pub sessions_before: Timestamp,
    /// Messages accepted before this moment.
    pub messages_before: Timestamp,
    /// `mid`s first used before this moment.
    pub mids_before: Timestamp,
}
