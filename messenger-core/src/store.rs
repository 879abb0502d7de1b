//! The storage as the engine calls it: each call is timed.

use crate::clock::Clock;
use crate::meters;
use crate::storage::{
    Account, AddContactError, AppendError, Appended, CreateAccountError, FindLimits, Lookup, Mark,
    NewMessage, NewSession, OpenSessionError, OpenedSession, OutOfDate, PageLimits, ProfileChange,
    SessionKey, SessionRecord, Storage, StorageError, UserData,
};
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use metrics::Histogram;
use std::fmt;
use std::sync::Arc;

macro_rules! timed {
    ($($call:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// How long calls take.
        struct Times {
            $($call: Histogram,)*
        }

        impl Times {
            fn new() -> Self {
                Self {
                    $($call: meters::store(stringify!($call)),)*
                }
            }
        }

        /// See [`Storage`], of whose calls these are.
        impl Store {
            $(pub(crate) async fn $call(&self, $($argument: $type),*) -> $result {
                self.timed(&self.times.$call, self.storage.$call($($argument),*)).await
            })*
        }
    };
}

/// A storage whose calls are timed.
pub(crate) struct Store {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    times: Times,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            clock,
            times: Times::new(),
        }
    }

    async fn timed<T>(&self, time: &Histogram, call: impl Future<Output = T>) -> T {
        let began = self.clock.now();
        let result = call.await;
        time.record(self.clock.now().since(began).as_secs_f64());
        result
    }
}

timed! {
    create_account(account: Account) -> Result<(), CreateAccountError>;
    account(login: &str) -> Result<Option<Account>, StorageError>;
    set_password(login: &UserId, pass_hash: String) -> Result<bool, StorageError>;
    adopt_user(user: &UserId, nick: &str) -> Result<(), StorageError>;
    users(after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, StorageError>;
    user_data(user: &UserId) -> Result<Option<UserData>, StorageError>;
    delete_user(user: &UserId) -> Result<Option<Vec<SessionKey>>, StorageError>;
    profile(user: &UserId) -> Result<Option<Profile>, StorageError>;
    change_profile(user: &UserId, change: ProfileChange) -> Result<(), StorageError>;
    contacts(owner: &UserId) -> Result<Vec<Contact>, StorageError>;
    add_contact(owner: &UserId, uid: &UserId, limit: usize) -> Result<Card, AddContactError>;
    remove_contact(owner: &UserId, uid: &UserId) -> Result<(), StorageError>;
    find_users(owner: &UserId, entries: Vec<Lookup>, limits: FindLimits) -> Result<Vec<Contact>, StorageError>;
    open_session(session: NewSession) -> Result<OpenedSession, OpenSessionError>;
    session(user: &UserId, key: &SessionKey) -> Result<Option<SessionRecord>, StorageError>;
    end_session(user: &UserId, key: &SessionKey) -> Result<(), StorageError>;
    advance(marks: Vec<Mark>) -> Result<(), StorageError>;
    append(message: NewMessage) -> Result<Appended, AppendError>;
    inbox(user: &UserId, after: u64, page: PageLimits) -> Result<Vec<(u64, Message)>, StorageError>;
    newest(user: &UserId) -> Result<u64, StorageError>;
    sweep(out_of_date: OutOfDate) -> Result<bool, StorageError>;
}
