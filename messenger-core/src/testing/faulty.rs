//! A store that fails or waits when told to.

use crate::address::AddressRule;
use crate::clock::Timestamp;
use crate::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, CreateAccountError, Expiry,
    FindLimits, Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, PageLimits,
    ProfileChange, SessionKey, SessionRecord, Storage, StorageError, UserData, Watermark,
};
use async_trait::async_trait;
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Passes everything on to another store, and fails or waits when told to. Clones are one.
#[derive(Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    has_accounts: bool,
    state: Arc<State>,
}

struct State {
    fails: AtomicBool,
    loses_answers: AtomicBool,
    holds_appends: AtomicBool,
    appends: AtomicUsize,
    held: AtomicUsize,
    released: Semaphore,
}

impl FaultyStorage {
    /// A store that works, until told otherwise.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        let state = State {
            fails: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            holds_appends: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            released: Semaphore::new(0),
        };
        Self {
            has_accounts: inner.accounts().is_some(),
            inner,
            state: Arc::new(state),
        }
    }

    /// The same, as a store that keeps no accounts.
    #[must_use]
    pub fn without_accounts(self) -> Self {
        Self {
            has_accounts: false,
            ..self
        }
    }

    /// Makes every call fail from now on, or none.
    pub fn set_failing(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
    }

    /// Makes every append be done from now on and fail all the same, as if its answer was lost; or none.
    pub fn set_losing_answers(&self, loses: bool) {
        self.state.loses_answers.store(loses, Ordering::SeqCst);
    }

    /// Makes appends wait from now on until they are [released](Self::release).
    pub fn hold_appends(&self) {
        self.state.holds_appends.store(true, Ordering::SeqCst);
    }

    /// How many appends were asked for so far, at once or not.
    pub fn appends(&self) -> usize {
        self.state.appends.load(Ordering::SeqCst)
    }

    /// How many appends have come to wait so far.
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }

    /// Lets so many appends go on.
    pub fn release(&self, count: usize) {
        self.state.released.add_permits(count);
    }

    fn inner_accounts(&self) -> Result<&dyn Accounts, StorageError> {
        let accounts = self.inner.accounts();
        accounts.ok_or_else(|| StorageError::new("no accounts are kept here"))
    }

    fn answer(&self, appended: Result<Appended, AppendError>) -> Result<Appended, AppendError> {
        if self.state.loses_answers.load(Ordering::SeqCst) {
            return Err(StorageError::unknown("told to lose the answer").into());
        }
        appended
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.state.fails.load(Ordering::SeqCst) {
            return Err(StorageError::new("told to fail"));
        }
        Ok(())
    }
}

#[async_trait]
impl Accounts for FaultyStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.check()?;
        self.inner_accounts()?.create_account(account).await
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        self.check()?;
        self.inner_accounts()?.account(login).await
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        self.check()?;
        self.inner_accounts()?.set_password(login, pass_hash).await
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    fn accounts(&self) -> Option<&dyn Accounts> {
        self.has_accounts.then_some(self)
    }

    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        self.check()?;
        self.inner.users(after, limit).await
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        self.check()?;
        self.inner.user_data(user).await
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        self.check()?;
        self.inner.delete_user(user).await
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        self.check()?;
        self.inner.upsert_external_user(user, nick).await
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        self.check()?;
        self.inner.profile(user).await
    }

    async fn change_profile(
        &self,
        user: &UserId,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        self.check()?;
        self.inner.change_profile(user, change).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        self.check()?;
        self.inner.contacts(owner).await
    }

    async fn add_contact(
        &self,
        owner: &UserId,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        self.check()?;
        self.inner.add_contact(owner, uid, limit).await
    }

    async fn remove_contact(&self, owner: &UserId, uid: &UserId) -> Result<(), StorageError> {
        self.check()?;
        self.inner.remove_contact(owner, uid).await
    }

    async fn find_users(
        &self,
        owner: &UserId,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        self.check()?;
        self.inner.find_users(owner, entries, limits).await
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        self.check()?;
        self.inner.rekey(rule).await
    }

    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError> {
        self.check()?;
        self.inner.open_session(session).await
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        self.check()?;
        self.inner.session(user, key).await
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        self.check()?;
        self.inner.end_session(user, key).await
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        self.check()?;
        self.inner.advance(watermarks).await
    }

    async fn append(&self, message: NewMessage) -> Result<Appended, AppendError> {
        self.state.appends.fetch_add(1, Ordering::SeqCst);
        if self.state.holds_appends.load(Ordering::SeqCst) {
            self.state.held.fetch_add(1, Ordering::SeqCst);
            let released = self.state.released.acquire().await;
            released.map_err(StorageError::new)?.forget();
        }
        self.check()?;
        self.answer(self.inner.append(message).await)
    }

    fn append_now(&self, message: &NewMessage) -> Option<Result<Appended, AppendError>> {
        if self.state.holds_appends.load(Ordering::SeqCst) {
            return None;
        }
        let appended = match self.check() {
            Ok(()) => self.answer(self.inner.append_now(message)?),
            Err(error) => Err(error.into()),
        };
        self.state.appends.fetch_add(1, Ordering::SeqCst);
        Some(appended)
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        self.check()?;
        self.inner.inbox(user, after, page).await
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        self.check()?;
        self.inner.newest(user).await
    }

    async fn was_changed_beside(&self) -> Result<bool, StorageError> {
        self.check()?;
        self.inner.was_changed_beside().await
    }

    async fn latest_use(&self) -> Result<Option<Timestamp>, StorageError> {
        self.check()?;
        self.inner.latest_use().await
    }

    async fn purge_expired(&self, expiry: Expiry) -> Result<bool, StorageError> {
        self.check()?;
        self.inner.purge_expired(expiry).await
    }
}

impl std::fmt::Debug for FaultyStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyStorage").finish_non_exhaustive()
    }
}
