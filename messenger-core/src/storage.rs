//! What the engine keeps, as a trait.
//!
//! # How to write a store
//!
//! - Implement [`Storage`]; a method with a body may be left out. If accounts are to be kept in the store too, implement
//!   [`Accounts`] and return it from [`accounts`](Storage::accounts). `examples/custom_storage.rs` is a complete store.
//! - Put calls that wait for a disk into a [`BatchQueue`], which keeps what [`append`](Storage::append) promises about
//!   the order.
//! - When it is not known whether a call was done, return [`StorageError::unknown`].
//! - Fail before [`Policy::storage_timeout`](crate::Policy::storage_timeout), and let nobody wait behind a call that
//!   hangs: the engine gives up a call that takes longer, and assumes that it is unknown whether it was done.
//! - Run [`testing::storage::suite`](crate::testing::storage) on it, which needs the feature `testing`.
//!
//! A store across a network, which several servers share, also
//!
//! - implements [`resume`](Storage::resume), [`inbox_for`](Storage::inbox_for) and [`look`](Storage::look), each as one
//!   call: by default each makes several other calls,
//! - says that watermarks may be gathered for longer: [`flush_delay`](Storage::flush_delay),
//! - counts the limits that hold for all servers: [`budgets`](Storage::budgets),
//! - lets one server at a time drop what is out of date: [`purge_expired`](Storage::purge_expired),
//! - checks in [`check`](Storage::check) whatever else must be right, such as the clocks of server and database.

mod batch_queue;
mod budgets;
mod constructors;
mod look;
mod memory;
mod overflow;

pub use batch_queue::{BatchQueue, Batches, QueueLimits};
pub use budgets::{Budgets, SharedLimit};
pub use look::{LOOKED_AT_ONCE, Look, ResumedSession, Seen};
pub use memory::MemoryStorage;
pub use overflow::Overflow;

use crate::address::AddressRule;
use crate::clock::Timestamp;
use crate::policy::InboxLimits;
use async_trait::async_trait;
use bytestring::ByteString;
use messenger_proto::{Card, Contact, Message, MessageId, Profile, SharedMessage, UserId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where users, contacts, sessions and messages are kept, and [accounts](Accounts), unless an embedder has its own.
///
/// - Every call is atomic: when it fails, nothing was done, unless the error says that this
///   [is unknown](StorageError::is_unknown).
/// - When it returns `Ok`, what it did is as durable as the store can make it.
/// - Races are settled by the store, never by a caller that checks first.
/// - A call sees what earlier calls about the same user have done, once they have returned.
///
/// Every implementation passes [`testing::storage`](crate::testing::storage).
///
/// # Cancel safety
/// A call that is dropped before it returns may or may not have been done.
///
/// # Examples
/// ```
/// use messenger_core::Engine;
/// use messenger_core::storage::{MemoryStorage, Storage};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
/// storage.upsert_external_user(&"ann".into(), "Ann").await?;
///
/// let engine = Engine::builder().storage(Arc::clone(&storage)).build()?;
/// assert_eq!(engine.users(None, 10).await?, ["ann".into()]);
///
/// engine.delete_user(&"ann".into()).await?;
/// assert_eq!(storage.profile(&"ann".into()).await?, None);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// The accounts, if they are kept here. `None` unless implemented: then the engine needs an
    /// [`Authenticator`](crate::authenticator::Authenticator) of the embedder's.
    fn accounts(&self) -> Option<&dyn Accounts> {
        None
    }

    /// The limits that hold for all servers together, if they are counted here. `None` unless implemented: then
    /// each server counts for itself, which is right for a store that only one has open.
    fn budgets(&self) -> Option<&dyn Budgets> {
        None
    }

    /// Makes sure that a user whose account is kept elsewhere is known here, under this nick. The
    /// nick may be taken here: it is for whoever keeps the account to see to that.
    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError>;

    /// The number of the user who has this id now; `None` when there is no such user.
    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError>;

    /// The users behind `after` in the order of their ids, at most `limit` of them.
    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError>;

    /// All that is kept of a user but the messages, which are in the [`inbox`](Self::inbox); `None`
    /// when there is no such user.
    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError>;

    /// Deletes all that is kept of a user, the inbox included, and the user from the contacts and
    /// remembered ids of others. What the user has sent stays with those it was sent to.
    ///
    /// False when there is no such user. A user of that id who comes later is another one, with another
    /// [number](Self::user_number), and begins anew, as a sender and as a recipient: no `mid` from or to the one
    /// before is remembered. Calls in the name of the one before do nothing from then on.
    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError>;

    /// The user's profile; `None` when there is no such user.
    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError>;

    /// Changes the fields that are there. It does nothing when the owner is no more.
    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError>;

    /// The owner's contacts in the order they were added.
    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError>;

    /// Adds `uid` to the owner's contacts, of which there may be `limit`.
    ///
    /// # Errors
    /// See [`AddContactError`], which are tested in that order. An owner who is no more is no such user.
    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError>;

    /// Removes `uid` from the owner's contacts; one that is not there is no error, and neither is an owner who is
    /// no more.
    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError>;

    /// Finds users by their addresses, and remembers for the owner under which of its own ids each
    /// was found: [`contacts`](Self::contacts) shows it from then on.
    ///
    /// The result is in the order of the entries; one entry lists a user once. For an owner who is no more
    /// nothing is remembered.
    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError>;

    /// Computes the keys of all users' addresses anew from the texts, by this rule; nothing if they were last computed by
    /// a rule of the same [name](AddressRule::name). A call that was interrupted is done again.
    ///
    /// The engine calls it once, before it changes or looks for any address.
    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError>;

    /// Begins a session. Its watermark is the highest that any session of the user has had, ended ones included. Over the
    /// limit the least recently used sessions end.
    ///
    /// # Errors
    /// There is no such user, or it is another one who has the id now.
    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError>;

    /// The user's session with this key; `None` when there is none. One that has outlived
    /// [`SessionRecord::used`] by its lifetime may or may not still be there.
    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError>;

    /// The user's session with this key and the user's nick, for a client that comes back to it; `None` when there
    /// is no such session. Expired ones may be there or not, as for [`session`](Self::session).
    ///
    /// A store that is asked across a network does it in one call.
    async fn resume(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<ResumedSession>, StorageError> {
        let Some(profile) = self.profile(user).await? else {
            return Ok(None);
        };
        // Asked behind it: a session that is there has been there as long as its user, whose profile this is.
        let record = self.session(user, key).await?;
        Ok(record.map(|record| ResumedSession::new(record, profile.nick)))
    }

    /// Ends a session; one that is not there is no error.
    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError>;

    /// Ends all ephemeral sessions of a user. The store was told of none of them, but counts how often this was done;
    /// it is no error when there is no such user.
    ///
    /// A notice tells them too. A store that no other process can write to may leave this as it is, and
    /// [`ephemeral_ended`](Self::ephemeral_ended) with it.
    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        let _ = user;
        Ok(())
    }

    /// How often [`end_ephemeral`](Self::end_ephemeral) was called for this user, and not for an earlier one of the
    /// same id. An ephemeral session is there while this is what it was when it [began](Look::ephemeral_ended).
    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        let _ = user;
        Ok(0)
    }

    /// Moves sessions' watermarks up, and the times of their last use. Neither ever moves back, and no watermark moves
    /// beyond the newest message. A session that has ended is passed over.
    ///
    /// What is delivered to every session of a user need not be kept any longer.
    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError>;

    /// How much may have been delivered before [`advance`](Self::advance) is called without further delay: in
    /// bytes of messages, where each counts a kibibyte beside its text.
    ///
    /// A store that keeps messages in memory wants to know early, and one on a disk wants few calls.
    fn flush_threshold_bytes(&self) -> usize {
        4 * 1024 * 1024
    }

    /// How long watermarks are gathered before [`advance`](Self::advance) is called, if that is not urgent. What
    /// was delivered meanwhile is delivered again after a crash, unless it was acknowledged. 20 ms.
    ///
    /// A store that is asked across a network may say 200 ms.
    fn flush_delay(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// Appends a message to its recipient's inbox under the next sequence number: 1, 2, 3… without a gap, but for
    /// [restores](Self::lost_up_to). The messages of an inbox become visible to [`inbox`](Self::inbox) in the order of
    /// their numbers.
    ///
    /// A caller may have several appends under way. They get their numbers in the order in which their futures were first
    /// polled. From then on each makes progress without being polled, because a caller polls only the oldest of
    /// them. A [`BatchQueue`] does both for a store that waits.
    ///
    /// A `mid` belongs to its sender and recipient together. While it is not forgotten, the same text and
    /// attachment under it are not appended again, however many appends race.
    ///
    /// # Errors
    /// There is no such recipient; the sender is no more; the `mid` was used for something else; or the inbox is full of
    /// messages that are delivered to no session of the recipient's yet. Messages that are delivered to some session do not
    /// fill it: over the limit they are dropped, of the sender who has most there (in messages or in bytes, whichever
    /// is over its limit), the oldest first ([`Overflow`] chooses). Those that are delivered to no session are never
    /// dropped to make room.
    async fn append(&self, message: NewMessage) -> Result<Appended, AppendError>;

    /// Does what [`append`](Self::append) does, if that takes no waiting: then a message costs no future.
    /// `None` when it would; nothing was done then. The message is numbered after those whose `append` was polled
    /// before.
    ///
    /// A store that waits for a disk or another process leaves this as it is.
    ///
    /// # Errors
    /// As for `append`.
    fn append_now(&self, message: &NewMessage) -> Option<Result<Appended, AppendError>> {
        let _ = message;
        None
    }

    /// The messages with sequence numbers above `after`, oldest first: at most `page.messages` of them, and no
    /// further one once they come to `page.bytes`.
    ///
    /// Empty only when there is none. Numbers may be missing, where messages were dropped.
    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError>;

    /// The sequence number of the newest message the inbox ever had; 0 when it never had one.
    async fn newest(&self, user: &UserId) -> Result<u64, StorageError>;

    /// Sequence numbers up to this one may have been used by a store that was lost, of which this one is an older copy;
    /// 0 for a store that is no copy. Inboxes go on above it: a client that drops the numbers it has seen must not be
    /// given anything new under one of them.
    fn lost_up_to(&self) -> u64 {
        0
    }

    /// Tells of many sessions at once which are still there, and what is newest in their users' inboxes: one answer
    /// for each, in their order.
    ///
    /// The engine asks this way about all sessions that have a connection, once a minute and whenever it may have
    /// missed something, some [thousand](LOOKED_AT_ONCE) at a time. A store that is asked across a network does it
    /// in one call.
    async fn look(&self, looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        let mut seen = Vec::with_capacity(looks.len());
        for look in &looks {
            let Look { owner, session, .. } = look;
            // What is asked behind it is no later user's of the same id, if this one is still there.
            let newest = self.newest(&owner.user).await?;
            let number = match session {
                Some(key) => self
                    .session(&owner.user, key)
                    .await?
                    .map(|record| record.user_number),
                None if self.ephemeral_ended(&owner.user).await? != look.ephemeral_ended => None,
                None => self.user_number(&owner.user).await?,
            };
            seen.push(match number == Some(owner.number) {
                true => Seen::There { newest },
                false => Seen::Ended,
            });
        }
        Ok(seen)
    }

    /// What the [`inbox`](Self::inbox) holds for a session that has a connection; `None` when the session has ended.
    /// It is never that of a later user of the same id.
    ///
    /// A store that is asked across a network does it in one call.
    async fn inbox_for(
        &self,
        look: &Look,
        after: u64,
        page: PageLimits,
    ) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
        let found = self.inbox(&look.owner.user, after, page).await?;
        // Asked behind it: a user who is still there now was there when the inbox was read.
        match self.look(vec![look.clone()]).await?.first() {
            Some(Seen::There { .. }) => Ok(Some(found)),
            Some(Seen::Ended) | None => Ok(None),
        }
    }

    /// True when another process has written to the store since this was last asked, as an operator's command
    /// does beside a server: sessions may have ended there. The engine asks twice a second, whether it has connections or
    /// not, and then looks whether their sessions are still there.
    ///
    /// A store that no other process can write to, or whose [notifier](crate::notifier) tells of it, leaves
    /// this as it is.
    async fn was_changed_beside(&self) -> Result<bool, StorageError> {
        Ok(false)
    }

    /// The latest [use](SessionRecord::used) of any session: about when the store was used last. `None` when there is
    /// none, or nobody can tell. The engine asks once: a clock that is far ahead of it may be wrong.
    async fn latest_use(&self) -> Result<Option<Timestamp>, StorageError> {
        Ok(None)
    }

    /// Drops what is out of date, a small step at a time, and says after what time there may be something to drop
    /// again: [none](Duration::ZERO) when there may be more now, and usually [a minute](PURGE_EVERY), which is how
    /// often the engine asks at the most.
    ///
    /// A store that many servers share need not have all of them do it: to most it says a longer time.
    ///
    /// Sessions used later than [`Expiry::now`] were used by a clock that was wrong: they count as used at that
    /// moment from then on, so that they do not outlast those in use.
    async fn purge_expired(&self, expiry: Expiry) -> Result<Duration, StorageError>;

    /// Whether the store works; the engine is [asked](crate::Engine::health) by whoever looks after it.
    async fn check(&self) -> Result<(), StorageError> {
        self.newest(&"".into()).await.map(drop)
    }
}

/// How often the engine drops what is out of date.
pub const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Where the built-in [`Authenticator`](crate::authenticator::Authenticator) keeps accounts: a part of a
/// [`Storage`], as atomic and durable as the rest. Whoever has an account is a user, and
/// [deleted](Storage::delete_user) with it.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Creates an account, whose login becomes the user's id.
    ///
    /// # Errors
    /// The login or the nick is taken. Of two racing calls for one of them exactly one succeeds.
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError>;

    /// Creates an account as [`create_account`](Self::create_account) does, unless some user's login looks like
    /// this one: has the same [`skeleton`](crate::lookalikes::skeleton).
    ///
    /// # Errors
    /// There is such a user, or as for `create_account`. Of racing calls for logins that look the same exactly
    /// one succeeds.
    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError>;

    /// The account with this login.
    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError>;

    /// Gives the account with this login another password. False when there is none.
    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError>;
}

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

/// The store failed. Nothing was done, unless that [is unknown](Self::is_unknown).
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store failed{}", if *.is_unknown { ", and may have done it" } else { "" })]
pub struct StorageError {
    #[source]
    cause: Arc<dyn std::error::Error + Send + Sync>,
    is_unknown: bool,
}

impl StorageError {
    /// Wraps the cause. Nothing was done.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            cause: Arc::from(cause.into()),
            is_unknown: false,
        }
    }

    /// Wraps the cause. The call may have been done or not, or may still be: its answer was lost on the way.
    pub fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            is_unknown: true,
            ..Self::new(cause)
        }
    }

    /// True when it is not known whether the call was done.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown
    }
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

/// Why an account was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateAccountError {
    /// Somebody has this login: with an account, or as a user whose account is kept elsewhere.
    #[error("the login is taken")]
    LoginTaken,
    /// An account has this nick.
    #[error("the nick is taken")]
    NickTaken,
    /// A user's login looks like this one.
    #[error("the login looks like another one")]
    Lookalike,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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

/// Why a contact was not added, in the order in which it is tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddContactError {
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The user is a contact already.
    #[error("the user is a contact already")]
    AlreadyThere,
    /// There are as many contacts as there may be.
    #[error("the contact list is full")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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

/// How much [`Storage::find_users`] finds and remembers.
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

/// Why a session did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenSessionError {
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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
pub enum Appended {
    /// It stands in the recipient's inbox.
    Stored {
        /// Its sequence number.
        seq: u64,
        /// Who has got it.
        recipient: UserNumber,
        /// How many messages it has pushed out, which sessions that lag will not be given.
        dropped: u64,
    },
    /// The sender has sent it to the recipient before, under the same `mid`; nothing was done.
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

/// Why a message was not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// There is no such recipient.
    #[error("there is no such user")]
    NoSuchUser,
    /// The sender is no more, though another may have the id.
    #[error("the sender is no user any more")]
    NoSuchSender,
    /// The inbox is full of messages that are delivered to no session of the recipient's yet.
    #[error("the inbox is full")]
    InboxFull,
    /// The sender has sent the recipient something else under the same `mid`.
    #[error("the mid was used for another message")]
    MidReused,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How much [`Storage::inbox`] reads at once.
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

/// What [`Storage::purge_expired`] may drop.
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
