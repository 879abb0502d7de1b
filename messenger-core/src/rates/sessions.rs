//! The limit of what one session does, kept where the session is.
//!
//! A message is counted in one atomic number of its session's own, which all connections of the session share.
//! Only a connection that begins looks for that number among all others.

use super::quota::Quota;
use super::{KEYS, TooMany};
use crate::clock::Timestamp;
use crate::meters;
use crate::policy::Rate;
use crate::storage::SessionKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Allows each session so much at once, and so much in a time.
#[derive(Debug)]
pub(super) struct SessionLimiter {
    reason: &'static str,
    quota: Quota,
    /// Those of sessions that have a connection, and of others until they are whole again: whoever reconnects
    /// must not have a new one.
    budgets: Mutex<HashMap<SessionKey, Arc<Budget>>>,
    hits: metrics::Counter,
}

/// What a session may still do.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    fn update<T>(&self, mut change: impl FnMut(&mut u64) -> T) -> T {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let mut whole_at = before;
            let outcome = change(&mut whole_at);
            let swapped = self.0.compare_exchange_weak(
                before,
                whole_at,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return outcome,
                Err(now) => before = now,
            }
        }
    }
}

impl SessionLimiter {
    /// `name` is what its hits are counted under, `reason` what a client is told.
    pub(super) fn new(name: &'static str, reason: &'static str, rate: Rate) -> Self {
        Self {
            reason,
            quota: Quota::new(rate),
            budgets: Mutex::default(),
            hits: meters::limit(name),
        }
    }

    /// The budget of a session that has a connection now.
    ///
    /// When there are too many it begins empty, and is this connection's alone: whatever was forgotten, it gives
    /// nobody more than the rate.
    pub(super) fn budget(&self, session: &SessionKey, now: Timestamp) -> Arc<Budget> {
        let mut budgets = self.budgets.lock();
        if budgets.len() >= KEYS && !budgets.contains_key(session) {
            let empty = self.quota.if_empty(now);
            return Arc::new(Budget(AtomicU64::new(empty)));
        }
        Arc::clone(budgets.entry(*session).or_default())
    }

    /// Takes one.
    #[inline]
    pub(super) fn take(&self, budget: &Budget, now: Timestamp) -> Result<(), TooMany> {
        if budget.update(|whole_at| self.quota.take(whole_at, now, 1)) {
            return Ok(());
        }
        self.hits.increment(1);
        Err(TooMany(self.reason))
    }

    /// Forgets sessions that have no connection, and whose budget is whole again.
    pub(super) fn forget_idle(&self, now: Timestamp) {
        let mut budgets = self.budgets.lock();
        budgets.retain(|_, budget| {
            let is_connected = Arc::strong_count(budget) > 1;
            is_connected || !budget.update(|whole_at| self.quota.is_whole(whole_at, now))
        });
        budgets.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BEGIN: Timestamp = Timestamp::from_micros(0);
    const REFILLED: Timestamp = Timestamp::from_micros(60_000_000);

    fn one_a_minute() -> SessionLimiter {
        let rate = Rate::new(1, Duration::from_secs(60));
        SessionLimiter::new("test", "too many", rate)
    }

    fn session(number: usize) -> SessionKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        SessionKey(key)
    }

    #[test]
    fn a_budget_is_forgotten_when_it_is_whole_and_nobody_has_it() {
        let limiter = one_a_minute();
        let connected = limiter.budget(&session(0), BEGIN);
        limiter
            .take(&limiter.budget(&session(1), BEGIN), BEGIN)
            .unwrap();
        let _ = limiter.budget(&session(2), BEGIN);
        limiter.forget_idle(BEGIN);
        assert_eq!(limiter.budgets.lock().len(), 2, "one was whole");
        let again = limiter.budget(&session(1), BEGIN);
        assert!(limiter.take(&again, BEGIN).is_err(), "it is the same");
        drop(again);
        limiter.forget_idle(REFILLED);
        assert_eq!(limiter.budgets.lock().len(), 1, "one is connected");
        limiter.take(&connected, REFILLED).unwrap();
        let other = limiter.budget(&session(0), REFILLED);
        assert!(limiter.take(&other, REFILLED).is_err(), "it is shared");
    }

    #[test]
    fn over_the_most_that_are_kept_a_session_begins_with_nothing() {
        let limiter = one_a_minute();
        for number in 0..KEYS {
            let budget = limiter.budget(&session(number), BEGIN);
            limiter.take(&budget, BEGIN).unwrap();
        }
        let late = limiter.budget(&session(KEYS), BEGIN);
        assert_eq!(limiter.budgets.lock().len(), KEYS);
        assert!(limiter.take(&late, BEGIN).is_err());
        limiter.take(&late, REFILLED).unwrap();
        limiter.forget_idle(REFILLED);
        assert_eq!(limiter.budgets.lock().len(), 0);
    }

    #[test]
    fn connections_at_once_take_no_more_than_there_is() {
        let rate = Rate::new(1000, Duration::from_secs(60));
        let limiter = SessionLimiter::new("test", "too many", rate);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let budget = limiter.budget(&session(0), BEGIN);
                    while limiter.take(&budget, BEGIN).is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    }
}
