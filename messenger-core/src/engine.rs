//! The engine: what all connections share.

use crate::address::AddressRule;
use crate::authenticator::{Authenticator, StoredAccounts};
use crate::background::Pool;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::connection::Connection;
use crate::entropy::{Entropy, NoEntropy, OsEntropy};
use crate::maintenance;
use crate::meters::Meters;
use crate::moderator::Moderator;
use crate::notifier::{LocalNotifier, Notifier, NotifierError};
use crate::offline;
use crate::passwords::{PasswordCostError, Passwords};
use crate::policy::Policy;
use crate::rates::Limiters;
use crate::shared::Shared;
use crate::storage::{MemoryStorage, Storage, StorageError};
use crate::timed_storage::{Patience, TimedStorage};
use crate::trusted_clock::{Steady, TrustedClock};
use crate::watermarks::Watermarks;
use messenger_proto::Welcome;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// A messenger. Cheap to clone; many may live in a process.
///
/// It needs no socket: [`connect`](Self::connect) gives a [`Connection`], which takes requests and
/// gives replies and events.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

/// Which parts of an engine work.
#[derive(Debug)]
#[non_exhaustive]
pub struct Health {
    /// Without it every request fails.
    pub storage: Result<(), StorageError>,
    /// Without it messages come late.
    pub notifier: Result<(), NotifierError>,
    /// With a wrong one what is in use is taken for out of date.
    pub clock: Result<(), ClockError>,
}

/// The clocks of this machine and of the store are more than 30 seconds apart: one of them is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the clocks of this server and of its store are {} seconds apart: set them right", apart.as_secs())]
pub struct ClockError {
    apart: Duration,
}

/// How far the clocks of engine and store may be apart.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// Why an engine could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The cost of a password is out of range.
    #[error(transparent)]
    PasswordCost(#[from] PasswordCostError),
    /// There is no authenticator, and the storage keeps no accounts for the built-in one.
    #[error("an engine whose storage keeps no accounts needs an authenticator")]
    NoAccounts,
    /// There is no tokio runtime to do the maintenance on.
    #[error("an engine must be built inside a tokio runtime")]
    NoRuntime,
}

/// Puts an engine together. By default everything is in memory.
#[must_use]
pub struct Builder {
    storage: Arc<dyn Storage>,
    notifier: Arc<dyn Notifier>,
    authenticator: Option<Arc<dyn Authenticator>>,
    moderator: Option<Arc<dyn Moderator>>,
    offline: Option<offline::Sender>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    has_maintenance: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Where everything is kept.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// How connections learn of messages.
    pub fn notifier(mut self, notifier: Arc<dyn Notifier>) -> Self {
        self.notifier = notifier;
        self
    }

    /// Who the users are. By default accounts are kept in the [storage](crate::storage::Storage::accounts).
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Who looks at each message before it is stored. By default nobody does.
    pub fn moderator(mut self, moderator: Arc<dyn Moderator>) -> Self {
        self.moderator = Some(moderator);
        self
    }

    /// Where to tell of messages that are stored for users who are offline: one end of a
    /// [channel](offline::channel). By default nobody is told.
    pub fn offline(mut self, sender: offline::Sender) -> Self {
        self.offline = Some(sender);
        self
    }

    /// The limits and switches.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Where the time comes from. It is not believed when it [jumps](Clock::now).
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where randomness comes from.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Leaves it to the caller to call [`Engine::run_maintenance`] now and then; nothing is spawned. Without a runtime
    /// there are no timers either: a call of the store may take as long as it takes.
    pub fn manual_maintenance(mut self) -> Self {
        self.has_maintenance = false;
        self
    }

    /// The engine. Unless told otherwise it spawns a few tasks on the current tokio runtime, which
    /// end with the last clone of the engine and the last connection.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Engine, BuildError> {
        let mut id = [0; 8];
        self.entropy.fill(&mut id)?;
        let clock = Arc::new(TrustedClock::new(self.clock));
        let times: Arc<dyn Clock> = clock.clone();
        let watermarks = Watermarks::new(self.storage.flush_threshold_bytes());
        let runtime = self.has_maintenance.then(Handle::try_current).transpose();
        let runtime = runtime.map_err(|_| BuildError::NoRuntime)?;
        let patience = runtime.clone().map(|runtime| Patience {
            most: self.policy.storage_timeout,
            runtime,
        });
        let storage = Arc::new(TimedStorage::new(
            self.storage,
            Arc::clone(&times),
            patience,
        ));
        let rates = self.policy.rates.as_ref();
        let steady: Arc<dyn Clock> = Arc::new(Steady(clock.clone()));
        let limiters = rates.map(|rates| Limiters::new(rates, &steady));
        let passwords = Passwords::new(self.policy.passwords, Arc::clone(&self.entropy))?;
        let passwords = Arc::new(passwords);
        let authenticator = match self.authenticator {
            Some(authenticator) => authenticator,
            None if storage.has_accounts() => Arc::new(StoredAccounts {
                storage: Arc::clone(&storage),
                passwords: Arc::clone(&passwords),
                refuses_lookalikes: self.policy.refuse_lookalikes,
            }),
            None => return Err(BuildError::NoAccounts),
        };
        let id = u64::from_le_bytes(id);
        let limits = &self.policy.limits;
        let shared = Arc::new(Shared {
            storage,
            address_rule: AddressRule::new(self.policy.region, limits.email, limits.phone),
            is_rekeyed: OnceCell::new(),
            notifier: self.notifier,
            limiters,
            passwords,
            imports: Pool::new(1),
            meters: Arc::new(Meters::new()),
            authenticator,
            moderator: self.moderator,
            offline: self.offline,
            policy: self.policy,
            clock,
            is_clock_compared: OnceCell::new(),
            entropy: self.entropy,
            watermarks: Arc::new(watermarks),
            online: Arc::default(),
            id,
            connections: AtomicU64::new(0),
            logins: AtomicU64::new(0),
        });
        if let Some(runtime) = runtime {
            maintenance::spawn(&shared, &runtime);
        }
        Ok(Engine { shared })
    }
}

impl Engine {
    /// A builder with everything in memory and the protocol's defaults.
    pub fn builder() -> Builder {
        Builder {
            storage: Arc::new(MemoryStorage::new()),
            notifier: Arc::new(LocalNotifier::new()),
            authenticator: None,
            moderator: None,
            offline: None,
            policy: Policy::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            has_maintenance: true,
        }
    }

    /// A new connection, on which nobody has authenticated yet. Dropping it ends it.
    ///
    /// It comes from no address, and is not held to what one address may do in a time; see
    /// [`connect_from`](Self::connect_from).
    pub fn connect(&self) -> Connection {
        Connection::new(Arc::clone(&self.shared), None)
    }

    /// A new connection from this address, which is held to what an address may do in a time.
    pub fn connect_from(&self, peer: IpAddr) -> Connection {
        Connection::new(Arc::clone(&self.shared), Some(peer))
    }

    /// What a new connection is greeted with.
    pub fn welcome(&self) -> Welcome {
        self.shared.welcome()
    }

    /// The limits and switches in force.
    pub fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    /// One round of everything that is otherwise done in the background: stores watermarks, drops what is out of date,
    /// has the store look whether the keys of addresses are right, and has every connection resync.
    ///
    /// # Errors
    /// The store failed; what was not done will be done by a later round.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest of the round to a later one.
    pub async fn run_maintenance(&self) -> Result<(), StorageError> {
        self.shared.publish_metrics();
        self.shared.clock.follow();
        self.shared.flush_watermarks().await?;
        while self.shared.purge_expired().await?.is_zero() {}
        if let Some(limiters) = &self.shared.limiters {
            limiters.forget_idle(self.shared.steady());
        }
        let all = self
            .shared
            .online
            .part(&self.shared.watermarks, self.shared.now(), 0, 1);
        self.shared.look_for(&all).await?;
        self.shared.rekey_again().await
    }

    /// Tells the recorder of metrics what was counted in the last second. To be called before metrics are
    /// shown.
    pub fn publish_metrics(&self) {
        self.shared.publish_metrics();
    }

    /// Which parts of the engine work.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn health(&self) -> Health {
        let storage = self.shared.storage.check().await;
        // One that does not answer is not asked again.
        let time = match storage {
            Ok(()) => self.shared.storage.time().await,
            Err(_) => Ok(None),
        };
        let (storage, time) = match time {
            Ok(time) => (storage, time),
            Err(error) => (Err(error), None),
        };
        Health {
            storage,
            notifier: self.shared.notifier.check(),
            clock: time.map_or(Ok(()), |time| self.compare(time)),
        }
    }

    fn compare(&self, time: Timestamp) -> Result<(), ClockError> {
        let now = self.shared.now();
        let apart = now.since(time).max(time.since(now));
        match apart > CLOCK_TOLERANCE {
            true => Err(ClockError { apart }),
            false => Ok(()),
        }
    }

    /// Stores what the engine remembers of sessions' watermarks. Call it before the process ends; a
    /// crash instead only means that some messages are delivered twice. May be called many times.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// When the future is dropped, the engine still remembers what it does not know to be stored.
    pub async fn shut_down(&self) -> Result<(), StorageError> {
        self.shared.flush_watermarks().await
    }
}
