//! What is done in the background.

use crate::online::Entry;
use crate::shared::Shared;
use crate::storage::{Expiry, LOOKED_AT_ONCE, PURGE_EVERY, StorageError};
use crate::watermarks::Watermarks;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often the store is asked whether another process has written to it.
const BESIDE_EVERY: Duration = Duration::from_millis(500);

/// How often the notifier is asked whether it has lost something.
const GAPS_EVERY: Duration = Duration::from_millis(500);

/// In what time all connections are looked for when it has, so that many servers do not ask the store all at once.
const SPREAD: Duration = Duration::from_secs(4);

/// The longest that the store is left alone between two looks of these.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the store is asked whether all keys are right: servers with another rule may write to it, as during an upgrade. Half an
/// hour, so that an hour after the last of those has ended all keys are.
const REKEY_EVERY: Duration = Duration::from_secs(30 * 60);

/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Spawns the tasks. They end with the engine.
pub(crate) fn spawn(shared: &Arc<Shared>, runtime: &Handle) {
    runtime.spawn(store_watermarks(
        Arc::downgrade(shared),
        Arc::clone(&shared.watermarks),
        shared.storage.flush_delay(),
    ));
    runtime.spawn(resync(
        Arc::downgrade(shared),
        shared.storage.looked_at_every(),
    ));
    runtime.spawn(rekey(Arc::downgrade(shared)));
    runtime.spawn(look_beside(Arc::downgrade(shared)));
    runtime.spawn(resync_after_gaps(
        Arc::downgrade(shared),
        shared.notifier.gaps(),
    ));
    runtime.spawn(purge(Arc::downgrade(shared)));
}

async fn store_watermarks(shared: Weak<Shared>, watermarks: Arc<Watermarks>, delay: Duration) {
    while !watermarks.is_closed() {
        watermarks.changed.notified().await;
        tokio::select! {
            () = sleep(delay) => {}
            () = watermarks.urgent.notified() => {}
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.watermarks.flush_moved(&shared.storage).await {
            log_failure(&error);
            drop(shared);
            sleep(AFTER_FAILURE).await;
        }
    }
}

/// Before anybody looks for users, if it can be: those who do wait for it, but for no longer than for any call. Then now and
/// again.
async fn rekey(shared: Weak<Shared>) {
    let mut left = Duration::ZERO;
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if left.is_zero() {
            left = match shared.rekey_again().await {
                Ok(()) => REKEY_EVERY,
                Err(error) => {
                    log_failure(&error);
                    AFTER_FAILURE
                }
            };
        }
        drop(shared);
        // The engine may end meanwhile.
        let pause = left.min(PURGE_EVERY);
        sleep(pause).await;
        left -= pause;
    }
}

/// Every session looks into the store once in so many seconds, should a notice have been lost.
async fn resync(shared: Weak<Shared>, every: Duration) {
    let every = every.as_secs().max(1);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for second in 1.. {
        seconds.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.publish_metrics();
        shared.clock.follow();
        let part = shared
            .online
            .part(&shared.watermarks, shared.now(), second % every, every);
        if let Err(error) = shared.look_for(&part).await {
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
        // Asked also when nobody is there: a store then does what it has left for later.
        let looked = async {
            was_changed |= shared.storage.was_changed_beside().await?;
            if was_changed {
                shared.look_for(&shared.online.all()).await?;
            }
            Ok(())
        };
        match looked.await {
            Ok(()) => was_changed = false,
            Err(error) => log_failure(&error),
        }
    }
}

/// What the notifier has lost may have been anybody's.
async fn resync_after_gaps(shared: Weak<Shared>, mut known: u64) {
    let mut rounds = interval(GAPS_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(strong) = shared.upgrade() else {
            return;
        };
        let gaps = strong.notifier.gaps();
        if gaps == std::mem::replace(&mut known, gaps) {
            continue;
        }
        let (online, [share, ..]) = (strong.online.all(), strong.id.to_le_bytes());
        drop(strong);
        for connection in &online {
            connection.set_must_look(true);
        }
        resync_slowly(&shared, &online, share).await;
    }
}

/// Looks for all these connections, in small parts. Servers of different shares do not begin at once.
async fn resync_slowly(shared: &Weak<Shared>, connections: &[Arc<Entry>], share: u8) {
    let batches = connections.chunks(LOOKED_AT_ONCE);
    let count = u32::try_from(batches.len()).unwrap_or(u32::MAX).max(1);
    let pause = (SPREAD / count).min(PAUSE);
    sleep(pause * u32::from(share) / 256).await;
    for batch in batches {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Err(error) = shared.look_for(batch).await {
            return log_failure(&error);
        }
        drop(shared);
        sleep(pause).await;
    }
}

async fn purge(shared: Weak<Shared>) {
    let mut rounds = interval(PURGE_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Nothing may have to be dropped for so long.
    let mut left = Duration::ZERO;
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
        left = left.saturating_sub(PURGE_EVERY);
        if left.is_zero() {
            left = purge_all(&shared).await;
        }
    }
}

/// Drops all that is out of date. After so long there may be something again.
async fn purge_all(shared: &Shared) -> Duration {
    loop {
        match shared.purge_expired().await {
            Ok(Duration::ZERO) => tokio::task::yield_now().await,
            Ok(again) => return again,
            Err(error) => {
                log_failure(&error);
                return Duration::ZERO;
            }
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
    /// Looks whether the sessions of these connections are still there and have something to be given, and tells
    /// those that have ended, or have.
    pub(crate) async fn look_for(&self, connections: &[Arc<Entry>]) -> Result<(), StorageError> {
        for connection in connections {
            connection.set_must_look(true);
        }
        for batch in connections.chunks(LOOKED_AT_ONCE) {
            let looks = batch.iter().map(|connection| connection.device.look());
            let seen = self.storage.look(looks.collect()).await?;
            for (connection, seen) in batch.iter().zip(seen) {
                connection.tell(seen);
            }
        }
        Ok(())
    }

    /// One step of dropping what is out of date, and after what time there may be more to do.
    pub(crate) async fn purge_expired(&self) -> Result<Duration, StorageError> {
        self.compare_clock().await?;
        if !self.clock.is_settled() {
            return Ok(PURGE_EVERY);
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
