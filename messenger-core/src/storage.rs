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
mod errors;
mod look;
mod memory;
mod overflow;
mod records;
pub mod transfer;

pub use batch_queue::{BatchQueue, Batches, QueueLimits};
pub use budgets::{Budgets, SharedLimit};
pub use errors::{
    AddContactError, AppendError, CreateAccountError, OpenSessionError, StorageError,
};
pub use look::{LOOKED_AT_ONCE, Look, ResumedSession, Seen};
pub use memory::MemoryStorage;
pub use overflow::Overflow;
pub use records::{
    Account, Address, Appended, Expiry, FindLimits, Lookup, NewMessage, NewSession, OpenedSession,
    Owner, PageLimits, ProfileChange, SessionKey, SessionRecord, UserData, UserNumber, Watermark,
};

use crate::address::AddressRule;
use crate::clock::Timestamp;
use async_trait::async_trait;
use messenger_proto::{Card, Contact, Message, Profile, UserId};
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

    /// The owner's contacts in the order they were added. Pictures behind those that come to [so many
    /// bytes](CONTACT_PICTURES) may be left out.
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
    /// The engine calls it before it changes or looks for any address, and every half hour. In a store that servers share, some
    /// with another rule may have written meanwhile, as during an upgrade: then those users' keys are computed anew. When servers of
    /// different rules undo each other's work again and again, a store may leave it as it is for up to a day.
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

    /// Does what [`append`](Self::append) does for each of these messages, in their order, if that takes no waiting: then
    /// they cost no futures. `None` when it would; nothing was done then. They are numbered after those whose
    /// `append` was polled before.
    ///
    /// What became of them is in their order, and ends with the first whose recipient there is not: those behind it
    /// were not appended. It has to be found out first whether there is such a user.
    ///
    /// A store that waits for a disk or another process leaves this as it is.
    fn append_now(&self, messages: &[&NewMessage]) -> Option<Vec<Result<Appended, AppendError>>> {
        let _ = messages;
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
    /// The engine asks this way about all sessions that have a connection, [now and then](Self::looked_at_every)
    /// and whenever it may have missed something, some [thousand](LOOKED_AT_ONCE) at a time. A store that is asked across a network does it
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

    /// In what time the engine [looks](Self::look) once for every session that has a connection, should it have missed
    /// something; in whole seconds. A store that several servers write to has it done within seconds, as then nothing
    /// is late for longer, whatever the [notifier](crate::notifier) has lost.
    fn looked_at_every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// What time it is by the store's own clock, if it has one: when that is far from the engine's, one of them is
    /// wrong, and [told](crate::Engine::health) so.
    async fn time(&self) -> Result<Option<Timestamp>, StorageError> {
        Ok(None)
    }

    /// Whether the store works; the engine is [asked](crate::Engine::health) by whoever looks after it.
    async fn check(&self) -> Result<(), StorageError> {
        self.newest(&"".into()).await.map(drop)
    }
}

/// How many bytes of pictures [`Storage::contacts`] gives at the least, if there are as many: as much as a whole list in an
/// answer may have, unless a policy has it otherwise.
pub const CONTACT_PICTURES: usize = 64 * 1024 * 1024;

/// How often the engine drops what is out of date.
pub const PURGE_EVERY: Duration = Duration::from_secs(60);

/// Where the built-in [`Authenticator`](crate::authenticator::Authenticator) keeps accounts: a part of a
/// [`Storage`], as atomic and durable as the rest. Whoever has an account is a user, and
/// [deleted](Storage::delete_user) with it.
///
/// # Cancel safety
/// A call that is dropped before it returns may or may not have been done.
///
/// # Examples
/// ```
/// use messenger_core::storage::{Account, MemoryStorage, Storage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let accounts = storage.accounts().expect("they are kept here");
/// accounts.create_account(Account::new("ann", "Ann", "$argon2id$…")).await?;
///
/// let again = accounts.create_account(Account::new("ann", "Another", "$argon2id$…")).await;
/// assert!(again.is_err(), "the login is taken");
///
/// let found = accounts.account("ann").await?.expect("it was created");
/// assert_eq!(found.nick, "Ann");
/// # Ok(())
/// # }
/// ```
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
