//! How what a [`Storage`](super::Storage) takes and gives is made: with what it must have, and a setter for all else.

use super::{
    Account, Address, Appended, Expiry, Lookup, NewMessage, NewSession, OpenedSession, Owner,
    ProfileChange, SessionKey, SessionRecord, UserData, UserNumber, Watermark,
};
use crate::clock::Timestamp;
use crate::policy::InboxLimits;
use bytestring::ByteString;
use messenger_proto::{Contact, MessageId, Profile, SharedMessage, UserId};
use std::time::Duration;

impl Account {
    /// An account with this login and nick, and this hash of the password.
    pub fn new(
        login: impl Into<UserId>,
        nick: impl Into<ByteString>,
        pass_hash: impl Into<String>,
    ) -> Self {
        Self {
            login: login.into(),
            nick: nick.into(),
            pass_hash: pass_hash.into(),
        }
    }
}

impl Appended {
    /// It stands in the recipient's inbox under this number, and has pushed out no other.
    pub fn stored(seq: u64, recipient: UserNumber) -> Self {
        Self::Stored {
            seq,
            recipient,
            dropped: 0,
        }
    }

    /// How many messages one that is stored has pushed out.
    #[must_use]
    pub fn dropped(mut self, count: u64) -> Self {
        if let Self::Stored { dropped, .. } = &mut self {
            *dropped = count;
        }
        self
    }

    /// The sender has sent it before, and it was answered with this id and time then.
    pub fn duplicate(id: impl Into<MessageId>, time: u64) -> Self {
        let id = id.into();
        Self::Duplicate { id, time }
    }
}

impl Owner {
    /// The user who has, or had, this id and this number.
    pub fn new(user: impl Into<UserId>, number: UserNumber) -> Self {
        Self {
            user: user.into(),
            number,
        }
    }
}

impl UserData {
    /// A user who tells this, and of whom nothing else is kept.
    pub fn new(profile: Profile) -> Self {
        Self {
            has_account: false,
            profile,
            contacts: Vec::new(),
            remembered: Vec::new(),
            sessions: Vec::new(),
            newest: 0,
        }
    }

    /// Whether the account is kept here.
    #[must_use]
    pub fn has_account(mut self, has_account: bool) -> Self {
        self.has_account = has_account;
        self
    }

    /// The contacts in the order they were added.
    #[must_use]
    pub fn contacts(mut self, contacts: Vec<Contact>) -> Self {
        self.contacts = contacts;
        self
    }

    /// Users found by an import, and what the owner's address book calls them.
    #[must_use]
    pub fn remembered(mut self, remembered: Vec<(UserId, ByteString)>) -> Self {
        self.remembered = remembered;
        self
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(mut self, sessions: Vec<(SessionKey, SessionRecord)>) -> Self {
        self.sessions = sessions;
        self
    }

    /// The sequence number of the newest message the inbox ever had.
    #[must_use]
    pub fn newest(mut self, newest: u64) -> Self {
        self.newest = newest;
        self
    }
}

impl ProfileChange {
    /// Nothing changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the line about the user's state of mind.
    #[must_use]
    pub fn user_status(mut self, user_status: impl Into<ByteString>) -> Self {
        self.user_status = Some(user_status.into());
        self
    }

    /// Sets the email address.
    #[must_use]
    pub fn email(mut self, email: Address) -> Self {
        self.email = Some(email);
        self
    }

    /// Sets the phone number.
    #[must_use]
    pub fn phone(mut self, phone: Address) -> Self {
        self.phone = Some(phone);
        self
    }

    /// Sets the picture.
    #[must_use]
    pub fn picture(mut self, picture: impl Into<ByteString>) -> Self {
        self.picture = Some(picture.into());
        self
    }
}

impl Address {
    /// This text, and the form in which it is compared.
    pub fn new(text: impl Into<ByteString>, key: Option<String>) -> Self {
        Self {
            text: text.into(),
            key,
        }
    }
}

impl Lookup {
    /// A person whom the owner calls so, and by whom nobody is found yet.
    pub fn new(myid: impl Into<ByteString>) -> Self {
        Self {
            myid: myid.into(),
            ..Self::default()
        }
    }

    /// The email addresses, in the form in which they are compared.
    #[must_use]
    pub fn emails(mut self, emails: Vec<String>) -> Self {
        self.emails = emails;
        self
    }

    /// The phone numbers, in the form in which they are compared.
    #[must_use]
    pub fn phones(mut self, phones: Vec<String>) -> Self {
        self.phones = phones;
        self
    }
}

impl NewSession {
    /// A session that begins now. Its client does not acknowledge, none of the user's others has expired, and there
    /// may be any number of them.
    pub fn new(owner: Owner, key: SessionKey, now: Timestamp) -> Self {
        Self {
            owner,
            key,
            ack: false,
            now,
            expired_before: Timestamp::default(),
            limit: usize::MAX,
        }
    }

    /// Whether its client acknowledges what it has processed.
    #[must_use]
    pub fn ack(mut self, ack: bool) -> Self {
        self.ack = ack;
        self
    }

    /// Sessions last used before this moment have expired.
    #[must_use]
    pub fn expired_before(mut self, expired_before: Timestamp) -> Self {
        self.expired_before = expired_before;
        self
    }

    /// How many sessions the user may have, this one included.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl OpenedSession {
    /// One that begins above this sequence number; these were ended.
    pub fn new(delivered_up_to: u64, ended: Vec<SessionKey>) -> Self {
        Self {
            delivered_up_to,
            ended,
        }
    }
}

impl SessionRecord {
    /// A session of this user with this watermark, whose client acknowledges or not, used then.
    pub fn new(user_number: UserNumber, delivered_up_to: u64, ack: bool, used: Timestamp) -> Self {
        Self {
            user_number,
            delivered_up_to,
            ack,
            used,
        }
    }
}

impl Watermark {
    /// Everything up to there is delivered to this session of this user, which was last used then.
    pub fn new(
        user: impl Into<UserId>,
        session: SessionKey,
        delivered_up_to: u64,
        used: Timestamp,
    ) -> Self {
        Self {
            user: user.into(),
            session,
            delivered_up_to,
            used,
        }
    }
}

impl NewMessage {
    /// A message of nobody who could be deleted, without a `mid`, to an inbox of the usual size.
    pub fn new(message: impl Into<SharedMessage>, now: Timestamp) -> Self {
        Self {
            message: message.into(),
            sender: None,
            mid: None,
            mid_forgotten_before: Timestamp::default(),
            now,
            limits: InboxLimits::default(),
        }
    }

    /// Who sends it, who must still be there.
    #[must_use]
    pub fn sender(mut self, sender: UserNumber) -> Self {
        self.sender = Some(sender);
        self
    }

    /// The sender's own id for what it sends to this recipient.
    #[must_use]
    pub fn mid(mut self, mid: impl Into<ByteString>) -> Self {
        self.mid = Some(mid.into());
        self
    }

    /// A `mid` first used before this moment is forgotten. By default none is.
    #[must_use]
    pub fn mid_forgotten_before(mut self, mid_forgotten_before: Timestamp) -> Self {
        self.mid_forgotten_before = mid_forgotten_before;
        self
    }

    /// What the recipient's inbox holds.
    #[must_use]
    pub fn limits(mut self, limits: InboxLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl Expiry {
    /// What is older than its lifetime now.
    pub fn at(now: Timestamp, sessions: Duration, messages: Duration, mids: Duration) -> Self {
        Self {
            now,
            sessions_before: now.before(sessions),
            messages_before: now.before(messages),
            mids_before: now.before(mids),
        }
    }
}
