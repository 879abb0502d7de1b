//! A store that fails or waits when told to.

use crate::address::AddressRule;
use crate::clock::Timestamp;
use crate::policy::Rate;
use crate::rates::quota::Quota;
use crate::storage::{
    Account, Accounts, AddContactError, AppendError, Appended, Budgets, CreateAccountError, Expiry,
    FindLimits, Look, Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, Owner,
    PageLimits, ProfileChange, ResumedSession, Seen, SessionKey, SessionRecord, SharedLimit,
    Storage, StorageError, UserData, UserNumber, Watermark,
};
use async_trait::async_trait;
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long a store gathers watermarks that is in the same process.
const NEAR: Duration = Duration::from_millis(20);

/// The same of one across a network.
const FAR: Duration = Duration::from_millis(200);

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Passes everything on to another store, and fails or waits when told to. Clones are one.
#[derive(Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    has_accounts: bool,
    is_far: bool,
    state: Arc<State>,
}

struct State {
    fails: AtomicBool,
    loses_answers: AtomicBool,
    hangs: AtomicBool,
    delay: Mutex<Duration>,
    calls: AtomicUsize,
    purges: AtomicUsize,
    rekeys: AtomicUsize,
    budgets: Mutex<HashMap<(SharedLimit, String), u64>>,
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
            hangs: AtomicBool::new(false),
            delay: Mutex::default(),
            calls: AtomicUsize::new(0),
            purges: AtomicUsize::new(0),
            rekeys: AtomicUsize::new(0),
            budgets: Mutex::default(),
            holds_appends: AtomicBool::new(false),
            appends: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            released: Semaphore::new(0),
        };
        Self {
            is_far: false,
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

    /// The same, as a store across a network that servers share: it gathers watermarks for 200 ms, is purged once an
    /// hour, and counts the limits that hold for all of them.
    #[must_use]
    pub fn far_away(self) -> Self {
        Self {
            is_far: true,
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

    /// Makes every call from now on one that never returns, or none.
    pub fn set_hanging(&self, hangs: bool) {
        self.state.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Makes every call from now on take so long, but for appends that are done at once.
    pub fn set_delay(&self, delay: Duration) {
        *self.state.delay.lock() = delay;
    }

    /// How many calls were made so far, but for appends that were done at once.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How often it was purged.
    pub fn purges(&self) -> usize {
        self.state.purges.load(Ordering::SeqCst)
    }

    /// How often it was asked to compute the keys of addresses.
    pub fn rekeys(&self) -> usize {
        self.state.rekeys.load(Ordering::SeqCst)
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

    /// Every call comes by here.
    async fn fault(&self) -> Result<(), StorageError> {
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        if self.state.hangs.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        let delay = *self.state.delay.lock();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        self.fail()
    }

    fn fail(&self) -> Result<(), StorageError> {
        if self.state.fails.load(Ordering::SeqCst) {
            return Err(StorageError::new("told to fail"));
        }
        Ok(())
    }
}

#[async_trait]
impl Accounts for FaultyStorage {
    async fn create_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.fault().await?;
        self.inner_accounts()?.create_account(account).await
    }

    async fn create_distinct_account(&self, account: Account) -> Result<(), CreateAccountError> {
        self.fault().await?;
        self.inner_accounts()?
            .create_distinct_account(account)
            .await
    }

    async fn account(&self, login: &str) -> Result<Option<Account>, StorageError> {
        self.fault().await?;
        self.inner_accounts()?.account(login).await
    }

    async fn set_password(&self, login: &UserId, pass_hash: String) -> Result<bool, StorageError> {
        self.fault().await?;
        self.inner_accounts()?.set_password(login, pass_hash).await
    }
}

#[async_trait]
impl Budgets for FaultyStorage {
    async fn take(
        &self,
        limit: SharedLimit,
        key: &str,
        count: u32,
        rate: Rate,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        self.fault().await?;
        let mut budgets = self.state.budgets.lock();
        let budget = budgets.entry((limit, key.to_owned())).or_default();
        Ok(Quota::new(rate).take(budget, now, count.into()))
    }

    async fn give_back(
        &self,
        limit: SharedLimit,
        key: &str,
        rate: Rate,
    ) -> Result<(), StorageError> {
        self.fault().await?;
        let mut budgets = self.state.budgets.lock();
        if let Some(budget) = budgets.get_mut(&(limit, key.to_owned())) {
            Quota::new(rate).give_back(budget);
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    fn accounts(&self) -> Option<&dyn Accounts> {
        self.has_accounts.then_some(self)
    }

    fn budgets(&self) -> Option<&dyn Budgets> {
        self.is_far.then_some(self)
    }

    fn flush_delay(&self) -> Duration {
        if self.is_far { FAR } else { NEAR }
    }

    async fn user_number(&self, user: &UserId) -> Result<Option<UserNumber>, StorageError> {
        self.fault().await?;
        self.inner.user_number(user).await
    }
    async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, StorageError> {
        self.fault().await?;
        self.inner.users(after, limit).await
    }

    async fn user_data(&self, user: &UserId) -> Result<Option<UserData>, StorageError> {
        self.fault().await?;
        self.inner.user_data(user).await
    }

    async fn delete_user(&self, user: &UserId) -> Result<bool, StorageError> {
        self.fault().await?;
        self.inner.delete_user(user).await
    }

    async fn upsert_external_user(&self, user: &UserId, nick: &str) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.upsert_external_user(user, nick).await
    }

    async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StorageError> {
        self.fault().await?;
        self.inner.profile(user).await
    }

    async fn change_profile(
        &self,
        owner: &Owner,
        change: ProfileChange,
    ) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.change_profile(owner, change).await
    }

    async fn contacts(&self, owner: &UserId) -> Result<Vec<Contact>, StorageError> {
        self.fault().await?;
        self.inner.contacts(owner).await
    }

    async fn add_contact(
        &self,
        owner: &Owner,
        uid: &UserId,
        limit: usize,
    ) -> Result<Card, AddContactError> {
        self.fault().await?;
        self.inner.add_contact(owner, uid, limit).await
    }

    async fn remove_contact(&self, owner: &Owner, uid: &UserId) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.remove_contact(owner, uid).await
    }

    async fn find_users(
        &self,
        owner: &Owner,
        entries: Vec<Lookup>,
        limits: FindLimits,
    ) -> Result<Vec<Contact>, StorageError> {
        self.fault().await?;
        self.inner.find_users(owner, entries, limits).await
    }

    async fn rekey(&self, rule: &AddressRule) -> Result<(), StorageError> {
        self.fault().await?;
        self.state.rekeys.fetch_add(1, Ordering::SeqCst);
        self.inner.rekey(rule).await
    }

    async fn open_session(&self, session: NewSession) -> Result<OpenedSession, OpenSessionError> {
        self.fault().await?;
        self.inner.open_session(session).await
    }

    async fn session(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<SessionRecord>, StorageError> {
        self.fault().await?;
        self.inner.session(user, key).await
    }

    async fn resume(
        &self,
        user: &UserId,
        key: &SessionKey,
    ) -> Result<Option<ResumedSession>, StorageError> {
        self.fault().await?;
        self.inner.resume(user, key).await
    }

    async fn end_session(&self, user: &UserId, key: &SessionKey) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.end_session(user, key).await
    }

    async fn end_ephemeral(&self, user: &UserId) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.end_ephemeral(user).await
    }

    async fn ephemeral_ended(&self, user: &UserId) -> Result<u64, StorageError> {
        self.fault().await?;
        self.inner.ephemeral_ended(user).await
    }

    async fn advance(&self, watermarks: Vec<Watermark>) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.advance(watermarks).await
    }

    async fn append(&self, message: NewMessage) -> Result<Appended, AppendError> {
        self.state.appends.fetch_add(1, Ordering::SeqCst);
        if self.state.holds_appends.load(Ordering::SeqCst) {
            self.state.held.fetch_add(1, Ordering::SeqCst);
            let released = self.state.released.acquire().await;
            released.map_err(StorageError::new)?.forget();
        }
        self.fault().await?;
        self.answer(self.inner.append(message).await)
    }

    fn append_now(&self, messages: &[&NewMessage]) -> Option<Vec<Result<Appended, AppendError>>> {
        let State {
            holds_appends,
            hangs,
            ..
        } = &*self.state;
        if holds_appends.load(Ordering::SeqCst) || hangs.load(Ordering::SeqCst) {
            return None;
        }
        let mut appended = Vec::new();
        for message in messages {
            let one = match self.fail() {
                Ok(()) => self.answer(self.inner.append_now(&[message])?.pop()?),
                Err(error) => Err(error.into()),
            };
            self.state.appends.fetch_add(1, Ordering::SeqCst);
            let ends = matches!(one, Err(AppendError::NoSuchUser));
            appended.push(one);
            if ends {
                break;
            }
        }
        Some(appended)
    }

    async fn inbox(
        &self,
        user: &UserId,
        after: u64,
        page: PageLimits,
    ) -> Result<Vec<(u64, Message)>, StorageError> {
        self.fault().await?;
        self.inner.inbox(user, after, page).await
    }

    async fn inbox_for(
        &self,
        look: &Look,
        after: u64,
        page: PageLimits,
    ) -> Result<Option<Vec<(u64, Message)>>, StorageError> {
        self.fault().await?;
        self.inner.inbox_for(look, after, page).await
    }

    async fn look(&self, looks: Vec<Look>) -> Result<Vec<Seen>, StorageError> {
        self.fault().await?;
        self.inner.look(looks).await
    }

    async fn newest(&self, user: &UserId) -> Result<u64, StorageError> {
        self.fault().await?;
        self.inner.newest(user).await
    }

    fn lost_up_to(&self) -> u64 {
        self.inner.lost_up_to()
    }

    async fn was_changed_beside(&self) -> Result<bool, StorageError> {
        self.fault().await?;
        self.inner.was_changed_beside().await
    }

    async fn latest_use(&self) -> Result<Option<Timestamp>, StorageError> {
        self.fault().await?;
        self.inner.latest_use().await
    }

    async fn purge_expired(&self, expiry: Expiry) -> Result<Duration, StorageError> {
        self.fault().await?;
        self.state.purges.fetch_add(1, Ordering::SeqCst);
        let again = self.inner.purge_expired(expiry).await?;
        Ok(if self.is_far { HOUR } else { again })
    }

    fn looked_at_every(&self) -> Duration {
        self.inner.looked_at_every()
    }

    async fn time(&self) -> Result<Option<Timestamp>, StorageError> {
        self.fault().await?;
        self.inner.time().await
    }

    async fn check(&self) -> Result<(), StorageError> {
        self.fault().await?;
        self.inner.check().await
    }
}

impl std::fmt::Debug for FaultyStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyStorage").finish_non_exhaustive()
    }
}
