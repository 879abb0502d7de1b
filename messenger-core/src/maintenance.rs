//! What is done in the background.

use crate::notifier::Notice;
use crate::online::Entry;
use crate::shared::Shared;
use crate::storage::{Expiry, StorageError};
use crate::watermarks::Watermarks;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long places are gathered before they are stored. After a crash what was given meanwhile is
/// given again, unless it was acknowledged.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// Every session looks into the store once in so many seconds, should a notice have been lost.
const RESYNC_EVERY: u64 = 60;

/// How often the store is asked whether another process has written to it.
const BESIDE_EVERY: Duration = Duration::from_millis(500);

/// How often what is out of date is dropped.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Spawns the tasks. They end with the engine.
pub(crate) fn spawn(shared: &Arc<Shared>, runtime: &Handle) {
    runtime.spawn(store_watermarks(
        Arc::downgrade(shared),
        Arc::clone(&shared.watermarks),
    ));
    runtime.spawn(resync(Arc::downgrade(shared)));
    runtime.spawn(rekey(Arc::clone(shared)));
    runtime.spawn(look_beside(Arc::downgrade(shared)));
    runtime.spawn(purge(Arc::downgrade(shared)));
}

async fn store_watermarks(shared: Weak<Shared>, watermarks: Arc<Watermarks>) {
    while !watermarks.is_closed() {
        watermarks.changed.notified().await;
        tokio::select! {
            () = sleep(GATHERED_FOR) => {}
            () = watermarks.urgent.notified() => {}
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.flush_moved_watermarks().await {
            log_failure(&error);
            drop(shared);
            sleep(AFTER_FAILURE).await;
        }
    }
}

/// Before anybody looks for users, if it can be: those who do wait for it.
async fn rekey(shared: Arc<Shared>) {
    if let Err(error) = shared.address_rule().await {
        log_failure(&error);
    }
}

async fn resync(shared: Weak<Shared>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for second in 1.. {
        seconds.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.publish_metrics();
        shared.clock.follow();
        let blind = shared.online.resync_part(
            &shared.watermarks,
            shared.now(),
            second % RESYNC_EVERY,
            RESYNC_EVERY,
        );
        if let Err(error) = shared.look_for(&blind).await {
            log_failure(&error);
        }
    }
}

/// What an operator's command does beside the server is told by no notice.
async fn look_beside(shared: Weak<Shared>) {
    let mut rounds = interval(BESIDE_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_changed = false;
    loop {
        rounds.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let online = shared.online.all();
        if online.is_empty() {
            continue;
        }
        let looked = async {
            was_changed |= shared.storage.was_changed_beside().await?;
            if was_changed {
                shared.look_for(&online).await?;
            }
            Ok(())
        };
        match looked.await {
            Ok(()) => was_changed = false,
            Err(error) => log_failure(&error),
        }
    }
}

async fn purge(shared: Weak<Shared>) {
    let mut rounds = interval(PURGE_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.flush_watermarks().await {
            log_failure(&error);
        }
        if let Some(limiters) = &shared.limiters {
            limiters.forget_idle(shared.steady());
        }
        purge_all(&shared).await;
    }
}

async fn purge_all(shared: &Shared) {
    loop {
        match shared.purge_expired().await {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => return,
            Err(error) => return log_failure(&error),
        }
    }
}

fn log_failure(error: &StorageError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the store failed in the background; it will be tried again"
    );
}

impl Shared {
    /// Looks whether the sessions of these connections are still there, and ends the connections of those
    /// that are not.
    pub(crate) async fn look_for(&self, connections: &[Arc<Entry>]) -> Result<(), StorageError> {
        for Entry {
            device, mailbox, ..
        } in connections.iter().map(|entry| &**entry)
        {
            if !device.is_there(&self.storage).await? {
                mailbox.deliver(Notice::SessionEnded(device.key));
            }
        }
        Ok(())
    }

    /// One step of dropping what is out of date. True when there may be more to do.
    pub(crate) async fn purge_expired(&self) -> Result<bool, StorageError> {
        self.compare_clock().await?;
        if !self.clock.is_settled() {
            return Ok(false);
        }
        let policy = &self.policy;
        let expiry = Expiry::at(
            self.now(),
            policy.session_lifetime,
            policy.message_lifetime,
            policy.mid_lifetime,
        );
        self.storage.purge_expired(expiry).await
    }
}
