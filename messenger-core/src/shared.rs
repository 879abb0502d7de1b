//! What all connections of an engine share.

use crate::address::AddressRule;
use crate::authenticator::Authenticator;
use crate::background::Pool;
use crate::clock::{Clock, Timestamp};
use crate::entropy::Entropy;
use crate::meters::Meters;
use crate::moderator::Moderator;
use crate::notifier::{ConnectionId, Notifier};
use crate::offline;
use crate::online::Online;
use crate::passwords::Passwords;
use crate::policy::Policy;
use crate::rates::Limiters;
use crate::storage::StorageError;
use crate::timed_storage::{Kind, TimedStorage};
use crate::trusted_clock::TrustedClock;
use crate::watermarks::Watermarks;
use messenger_proto::Welcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

pub(crate) struct Shared {
    pub(crate) storage: Arc<TimedStorage>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) moderator: Option<Arc<dyn Moderator>>,
    /// Where messages for users who are offline go.
    pub(crate) offline: Option<offline::Sender>,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<TrustedClock>,
    /// The clock was compared with what the store has seen last.
    pub(crate) is_clock_compared: OnceCell<()>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) watermarks: Arc<Watermarks>,
    pub(crate) online: Arc<Online>,
    pub(crate) limiters: Option<Limiters>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) address_rule: AddressRule,
    /// The store's keys are this rule's.
    pub(crate) is_rekeyed: OnceCell<()>,
    /// Large imports are worked on one at a time.
    pub(crate) imports: Pool,
    pub(crate) meters: Arc<Meters>,
    /// Tells this engine's connections and messages from those of any other.
    pub(crate) id: u64,
    pub(crate) connections: AtomicU64,
    pub(crate) logins: AtomicU64,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time by which limits count; see [`TrustedClock::steady_at`].
    pub(crate) fn steady(&self) -> Timestamp {
        self.clock.steady_at(self.now())
    }

    /// What is older than this moment has outlived its lifetime.
    pub(crate) fn out_of_date(&self, lifetime: Duration) -> Timestamp {
        self.clock.out_of_date(lifetime)
    }

    /// A clock that is far ahead of what the store has seen may be wrong.
    pub(crate) async fn compare_clock(&self) -> Result<(), StorageError> {
        let compare = || async {
            if let Some(latest) = self.storage.latest_use().await? {
                self.clock.compare_with(latest);
            }
            Ok(())
        };
        let compared = self.is_clock_compared.get_or_try_init(compare);
        compared.await.copied()
    }

    /// What a new connection is greeted with.
    pub(crate) fn welcome(&self) -> Welcome {
        Welcome::new(self.policy.welcome.as_str(), self.clock.now().as_secs())
    }

    pub(crate) fn next_connection(&self) -> ConnectionId {
        ConnectionId {
            engine: self.id,
            number: self.connections.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(crate) fn next_login(&self) -> u64 {
        self.logins.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn publish_metrics(&self) {
        self.meters.publish();
        self.storage.publish();
    }

    /// How addresses are compared, as soon as the store's keys are this rule's.
    pub(crate) async fn address_rule(&self) -> Result<&AddressRule, StorageError> {
        let rekeyed = self.storage.in_time(Kind::Read, self.rekey());
        rekeyed.await.map(|()| &self.address_rule)
    }

    /// Has the store compute its keys by the rule, if nobody has. With many users that takes a while.
    async fn rekey(&self) -> Result<(), StorageError> {
        let rekeyed = self
            .is_rekeyed
            .get_or_try_init(|| self.storage.rekey(&self.address_rule));
        rekeyed.await.copied()
    }

    /// The same also if the keys were this rule's before: servers with another one may have written to the store since.
    pub(crate) async fn rekey_again(&self) -> Result<(), StorageError> {
        match self.is_rekeyed.get() {
            None => self.rekey().await,
            Some(()) => self.storage.rekey(&self.address_rule).await,
        }
    }

    pub(crate) async fn flush_watermarks(&self) -> Result<(), StorageError> {
        self.watermarks.flush_all(&self.storage).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.publish_metrics();
        self.watermarks.close();
    }
}
