//! The storage as the engine calls it: each call is timed, and given up when it takes too long.
//!
//! A timer is set only for a call that was not answered at once. A request has the time of one call for all that it needs.

use crate::address::AddressRule;
use crate::clock::{Clock, Timestamp};
use crate::meters;
use crate::policy::Rate;
use crate::sharded_counter::ShardedCounter;
use crate::storage::{
    Account, AddContactError, AppendError, Appended, CreateAccountError, Expiry, FindLimits, Look,
    Lookup, NewMessage, NewSession, OpenSessionError, OpenedSession, Owner, PageLimits,
    ProfileChange, ResumedSession, Seen, SessionKey, SharedLimit, Storage, StorageError, UserData,
    UserNumber, Watermark,
};
use messenger_proto::{Card, Contact, Message, Profile, UserId};
use metrics::Histogram;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    /// Of the request that is carried out.
    static SPENT: Spent;
}

/// Carries out a request, or the rest of one, all of whose calls may take together as long as one.
pub(crate) fn together<F: Future>(request: F) -> impl Future<Output = F::Output> {
    let spent = SPENT.try_with(Spent::clone);
    SPENT.scope(spent.unwrap_or_else(|_| Spent::begin()), request)
}

/// What a request has taken so far.
#[derive(Clone)]
struct Spent {
    began: Instant,
    /// How much of it was for the store.
    in_store: Cell<Duration>,
}

impl Spent {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            in_store: Cell::default(),
        }
    }

    /// How much is over of so much time. What it has waited for beside the store, as for a password that is hashed behind
    /// others, leaves it a fifth: or nobody would be let in who comes back with very many.
    fn of(&self, most: Duration) -> Duration {
        let in_store = self.in_store.get();
        let beside = self.began.elapsed().saturating_sub(in_store);
        in_store + beside.min(most * 4 / 5)
    }

    /// What was waited for since `began`, when so much had been spent in the store, was for it. Calls of which that was
    /// made up have told so themselves.
    fn add_since(&self, began: Instant, in_store: Duration) {
        let now = in_store + began.elapsed();
        self.in_store.set(self.in_store.get().max(now));
    }
}

macro_rules! timed {
    ($($kind:ident $call:ident($($argument:ident: $type:ty),*) -> $result:ty $(, of $part:ident)?;)*) => {
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
                self.timed(&self.times.$call, Kind::$kind, part.$call($($argument),*)).await
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

/// What it means that a call was given up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Nothing was done then that a client has asked for.
    Read,
    /// It may have been done, or may still be.
    Write,
    /// It takes as long as it takes, and is never given up.
    Long,
}

/// How long a call may take.
pub(crate) struct Patience {
    pub(crate) most: Duration,
    /// Where the timers are.
    pub(crate) runtime: Handle,
}

impl Patience {
    /// Ready when it is at its end, of which so much is over.
    fn timer(&self, over: Duration) -> Sleep {
        let _entered = self.runtime.enter();
        sleep(self.most.saturating_sub(over))
    }

    fn exceeded(&self, kind: Kind) -> StorageError {
        let text = format!("it has not answered within {:?}", self.most);
        match kind {
            Kind::Write => StorageError::unknown(text),
            Kind::Read | Kind::Long => StorageError::new(text),
        }
    }
}

/// A storage whose calls are timed.
pub(crate) struct TimedStorage {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    /// `None` when there is no runtime to tell that it is at its end.
    patience: Option<Patience>,
    times: Times,
}

impl fmt::Debug for TimedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedStorage").finish_non_exhaustive()
    }
}

impl TimedStorage {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        patience: Option<Patience>,
    ) -> Self {
        Self {
            storage,
            clock,
            patience,
            times: Times::new(),
        }
    }

    pub(crate) fn has_accounts(&self) -> bool {
        self.storage.accounts().is_some()
    }

    /// True when limits that hold for all servers are counted in the store.
    pub(crate) fn has_budgets(&self) -> bool {
        self.storage.budgets().is_some()
    }

    /// See [`Storage::flush_delay`].
    pub(crate) fn flush_delay(&self) -> Duration {
        self.storage.flush_delay()
    }

    /// See [`Storage::looked_at_every`].
    pub(crate) fn looked_at_every(&self) -> Duration {
        self.storage.looked_at_every()
    }

    /// Tells the recorder of metrics what was counted since the last time.
    pub(crate) fn publish(&self) {
        self.times.publish();
    }

    /// See [`Storage::append_now`].
    pub(crate) fn append_now(
        &self,
        messages: &[&NewMessage],
    ) -> Option<Vec<Result<Appended, AppendError>>> {
        let appended = self.storage.append_now(messages)?;
        self.times.append.at_once.add(appended.len() as u64);
        Some(appended)
    }

    /// See [`Storage::lost_up_to`].
    pub(crate) fn lost_up_to(&self) -> u64 {
        self.storage.lost_up_to()
    }

    /// Ready when a request has waited for so long as it may beside the store.
    pub(crate) fn patience(&self) -> impl Future<Output = ()> {
        let timer = self.patience.as_ref().map(|it| it.timer(it.most / 5));
        async {
            match timer {
                Some(timer) => timer.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Does several things, in the time that one call may take.
    pub(crate) async fn in_time<T, E: From<StorageError>>(
        &self,
        kind: Kind,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut work = pin!(work);
        if let Poll::Ready(result) = at_once(work.as_mut()).await {
            return result;
        }
        self.wait(kind, self.clock.now(), work).await.0
    }

    async fn timed<T, E: From<StorageError>>(
        &self,
        time: &Time,
        kind: Kind,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut call = pin!(call);
        if let Poll::Ready(result) = at_once(call.as_mut()).await {
            time.at_once.count();
            return result;
        }
        let (result, waited) = self.wait(kind, self.clock.now(), call).await;
        time.waited.record(waited.as_secs_f64());
        result
    }

    /// Awaits a call that has begun, and tells how long that took.
    async fn wait<T, E: From<StorageError>>(
        &self,
        kind: Kind,
        began: Timestamp,
        call: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> (Result<T, E>, Duration) {
        let (Kind::Read | Kind::Write, Some(patience)) = (kind, &self.patience) else {
            let result = call.await;
            return (result, self.clock.now().since(began));
        };
        // What is done in the background is no request.
        let over = SPENT.try_with(|spent| spent.of(patience.most));
        let timer = patience.timer(over.unwrap_or_default());
        let before = SPENT.try_with(|spent| spent.in_store.get());
        let started = Instant::now();
        let result = tokio::select! {
            biased;
            result = call => result,
            () = timer => Err(patience.exceeded(kind).into()),
        };
        let _ = SPENT.try_with(|spent| spent.add_since(started, before.unwrap_or_default()));
        (result, self.clock.now().since(began))
    }
}

/// What the future comes to, if it does when it is first polled.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Nobody asks for a part that the storage does not have.
fn not_kept() -> StorageError {
    StorageError::new("the storage does not have this part")
}

timed! {
    Write create_account(account: Account) -> Result<(), CreateAccountError>, of accounts;
    Write create_distinct_account(account: Account) -> Result<(), CreateAccountError>, of accounts;
    Read account(login: &str) -> Result<Option<Account>, StorageError>, of accounts;
    Write set_password(login: &UserId, pass_hash: String) -> Result<bool, StorageError>, of accounts;
    Read take(limit: SharedLimit, key: &str, count: u32, rate: Rate, now: Timestamp) -> Result<bool, StorageError>, of budgets;
    Read give_back(limit: SharedLimit, key: &str, rate: Rate) -> Result<(), StorageError>, of budgets;
    Write upsert_external_user(user: &UserId, nick: &str) -> Result<(), StorageError>;
    Read user_number(user: &UserId) -> Result<Option<UserNumber>, StorageError>;
    Read users(after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, StorageError>;
    Read user_data(user: &UserId) -> Result<Option<UserData>, StorageError>;
    Long delete_user(user: &UserId) -> Result<bool, StorageError>;
    Read profile(user: &UserId) -> Result<Option<Profile>, StorageError>;
    Write change_profile(owner: &Owner, change: ProfileChange) -> Result<(), StorageError>;
    Read contacts(owner: &UserId) -> Result<Vec<Contact>, StorageError>;
    Write add_contact(owner: &Owner, uid: &UserId, limit: usize) -> Result<Card, AddContactError>;
    Write remove_contact(owner: &Owner, uid: &UserId) -> Result<(), StorageError>;
    Write find_users(owner: &Owner, entries: Vec<Lookup>, limits: FindLimits) -> Result<Vec<Contact>, StorageError>;
    Long rekey(rule: &AddressRule) -> Result<(), StorageError>;
    Write open_session(session: NewSession) -> Result<OpenedSession, OpenSessionError>;
    Read resume(user: &UserId, key: &SessionKey) -> Result<Option<ResumedSession>, StorageError>;
    Write end_session(user: &UserId, key: &SessionKey) -> Result<(), StorageError>;
    Write end_ephemeral(user: &UserId) -> Result<(), StorageError>;
    Read ephemeral_ended(user: &UserId) -> Result<u64, StorageError>;
    Write advance(watermarks: Vec<Watermark>) -> Result<(), StorageError>;
    Write append(message: NewMessage) -> Result<Appended, AppendError>;
    Read inbox(user: &UserId, after: u64, page: PageLimits) -> Result<Vec<(u64, Message)>, StorageError>;
    Read inbox_for(look: &Look, after: u64, page: PageLimits) -> Result<Option<Vec<(u64, Message)>>, StorageError>;
    Read look(looks: Vec<Look>) -> Result<Vec<Seen>, StorageError>;
    Read newest(user: &UserId) -> Result<u64, StorageError>;
    Read was_changed_beside() -> Result<bool, StorageError>;
    Read latest_use() -> Result<Option<Timestamp>, StorageError>;
    Write purge_expired(expiry: Expiry) -> Result<Duration, StorageError>;
    Read time() -> Result<Option<Timestamp>, StorageError>;
    Read check() -> Result<(), StorageError>;
}
