//! The storage as the engine calls it: each call is timed.

use crate::address::AddressRule;
use crate::clock::{Clock, Timestamp};
use crate::meters;
use crate::sharded_counter::ShardedCounter;
use crate::storage::{
    Account, AddContactError, AppendError, Appended, CreateAccountError, Expiry, FindLimits,
    Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, PageLimits, ProfileChange,
    SessionKey, SessionRecord, Storage, StorageError, UserData, Watermark,
};
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use metrics::Histogram;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

macro_rules! timed {
    ($($call:ident($($argument:ident: $type:ty),*) -> $result:ty $(, of $part:ident)?;)*) => {
        /// How long calls take.
        struct Times {
            $($call: Time,)*
        }

        impl Times {
            fn new() -> Self {
                Self {
                    $($call: Time::new(stringify!($call)),)*
                }
            }

            fn publish(&self) {
                $(self.$call.publish();)*
            }
        }

        /// See [`Storage`], of whose calls these are.
        impl TimedStorage {
            $(pub(crate) async fn $call(&self, $($argument: $type),*) -> $result {
                let part = &self.storage$(.$part().ok_or_else(not_kept)?)?;
                self.timed(&self.times.$call, part.$call($($argument),*)).await
            })*
        }
    };
}

/// How long a call takes.
struct Time {
    waited: Histogram,
    /// Calls that were answered at once, as by a store in memory: a clock would cost more.
    at_once: ShardedCounter,
}

impl Time {
    fn new(call: &'static str) -> Self {
        Self {
            waited: meters::store(call),
            at_once: ShardedCounter::default(),
        }
    }

    fn publish(&self) {
        let at_once = usize::try_from(self.at_once.take()).unwrap_or(usize::MAX);
        self.waited.record_many(0.0, at_once);
    }
}

/// A storage whose calls are timed.
pub(crate) struct TimedStorage {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    times: Times,
}

impl fmt::Debug for TimedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedStorage").finish_non_exhaustive()
    }
}

impl TimedStorage {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            clock,
            times: Times::new(),
        }
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.storage.accounts().is_some()
    }

    /// Tells the recorder of metrics what was counted since the last time.
    pub(crate) fn publish(&self) {
        self.times.publish();
    }

    /// See [`Storage::append_now`].
    pub(crate) fn append_now(&self, message: &NewMessage) -> Option<Result<Appended, AppendError>> {
        let appended = self.storage.append_now(message)?;
        self.times.append.at_once.count();
        Some(appended)
    }

    async fn timed<T>(&self, time: &Time, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            time.at_once.count();
            return result;
        }
        let began = self.clock.now();
        let result = call.await;
        time.waited
            .record(self.clock.now().since(began).as_secs_f64());
        result
    }
}

/// Nobody asks: an engine whose storage keeps no accounts has another authenticator.
fn not_kept() -> StorageError {
    StorageError::new("no accounts are kept here")
}

timed! {
    create_account(account: Account) -> Result<(), CreateAccountError>, of accounts;
    account(login: &str) -> Result<Option<Account>, StorageError>, of accounts;
    set_password(login: &UserId, pass_hash: String) -> Result<bool, StorageError>, of accounts;
    upsert_external_user(user: &UserId, nick: &str) -> Result<(), StorageError>;
    users(after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, StorageError>;
    user_data(user: &UserId) -> Result<Option<UserData>, StorageError>;
    delete_user(user: &UserId) -> Result<bool, StorageError>;
    profile(user: &UserId) -> Result<Option<Profile>, StorageError>;
    change_profile(user: &UserId, change: ProfileChange) -> Result<(), StorageError>;
    contacts(owner: &UserId) -> Result<Vec<Contact>, StorageError>;
    add_contact(owner: &UserId, uid: &UserId, limit: usize) -> Result<Card, AddContactError>;
    remove_contact(owner: &UserId, uid: &UserId) -> Result<(), StorageError>;
    find_users(owner: &UserId, entries: Vec<Lookup>, limits: FindLimits) -> Result<Vec<Contact>, StorageError>;
    rekey(rule: &AddressRule) -> Result<(), StorageError>;
    open_session(session: NewSession) -> Result<OpenedSession, OpenSessionError>;
    session(user: &UserId, key: &SessionKey) -> Result<Option<SessionRecord>, StorageError>;
    end_session(user: &UserId, key: &SessionKey) -> Result<(), StorageError>;
    advance(watermarks: Vec<Watermark>) -> Result<(), StorageError>;
    append(message: NewMessage) -> Result<Appended, AppendError>;
    inbox(user: &UserId, after: u64, page: PageLimits) -> Result<Vec<(u64, Message)>, StorageError>;
    newest(user: &UserId) -> Result<u64, StorageError>;
    was_changed_beside() -> Result<bool, StorageError>;
    latest_use() -> Result<Option<Timestamp>, StorageError>;
    purge_expired(expiry: Expiry) -> Result<bool, StorageError>;
}
