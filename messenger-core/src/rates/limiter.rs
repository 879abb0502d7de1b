//! One limit, for any number of keys.

use super::quota::Quota;
use super::{KEYS, TooMany};
use crate::clock::{Clock, Timestamp};
use crate::meters;
use crate::policy::Rate;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Allows each key so much at once, and so much in a time.
#[derive(Debug)]
pub(super) struct Limiter {
    reason: &'static str,
    quota: Quota,
    clock: Arc<dyn Clock>,
    /// Keys are hashed, so that they are all of one size; nobody can choose two that are the same.
    hasher: RandomState,
    budgets: Mutex<HashMap<u64, u64>>,
    hits: metrics::Counter,
}

/// What was taken, and may yet be given back.
#[must_use]
pub(super) struct Held<'a> {
    limiter: &'a Limiter,
    key: u64,
}

impl Held<'_> {
    /// As if one had not been taken.
    pub(super) fn give_back(self) {
        let Limiter {
            quota,
            clock,
            budgets,
            ..
        } = self.limiter;
        let now = clock.now();
        let mut budgets = budgets.lock();
        if let Some(budget) = budgets.get_mut(&self.key) {
            quota.give_back(budget);
            if quota.is_whole(budget, now) {
                budgets.remove(&self.key);
            }
        }
    }
}

impl Limiter {
    /// `name` is what its hits are counted under, `reason` what a client is told.
    pub(super) fn new(
        name: &'static str,
        reason: &'static str,
        rate: Rate,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            reason,
            quota: Quota::new(rate),
            clock,
            hasher: RandomState::new(),
            budgets: Mutex::default(),
            hits: meters::limit(name),
        }
    }

    /// Takes so many, or none: then somebody is [refused](Self::refuse), or waits.
    pub(super) fn take(&self, key: &impl Hash, count: usize) -> Option<Held<'_>> {
        let key = self.hasher.hash_one(key);
        let is_allowed = self.allows(key, count);
        is_allowed.then_some(Held { limiter: self, key })
    }

    /// Counts that somebody is refused because of the limit.
    pub(super) fn refuse(&self) -> TooMany {
        self.hits.increment(1);
        TooMany(self.reason)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn allows(&self, key: u64, count: usize) -> bool {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let now = self.clock.now();
        let mut budgets = self.budgets.lock();
        if budgets.len() >= KEYS && !budgets.contains_key(&key) {
            return false;
        }
        self.quota.take(budgets.entry(key).or_default(), now, count)
    }

    /// Forgets keys whose budget is whole again.
    pub(super) fn forget_idle(&self) {
        let now = self.clock.now();
        let mut budgets = self.budgets.lock();
        budgets.retain(|_, budget| !self.quota.is_whole(budget, now));
        budgets.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }
    }

    #[test]
    fn as_many_keys_are_counted_as_may_be_and_idle_ones_are_forgotten() {
        let clock = Arc::new(Hand::default());
        let rate = Rate::new(2, Duration::from_secs(60));
        let limiter = Limiter::new("test", "too many", rate, clock.clone());
        for key in 0..KEYS {
            let _ = limiter.take(&key, 1).unwrap();
        }
        assert!(limiter.take(&KEYS, 1).is_none(), "nothing is known of it");
        assert!(limiter.take(&7_usize, 1).is_some());
        *clock.0.lock() = Timestamp::from_micros(121_000_000);
        limiter.forget_idle();
        assert_eq!(limiter.budgets.lock().len(), 0);
        assert!(limiter.take(&KEYS, 1).is_some());
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let rate = Rate::new(2, Duration::from_secs(60));
        let limiter = Limiter::new("test", "too many", rate, Arc::new(Hand::default()));
        for key in 0..1000 {
            limiter.take(&key, 1).unwrap().give_back();
        }
        assert_eq!(limiter.budgets.lock().len(), 0);
        let _ = limiter.take(&7, 1).unwrap();
        limiter.take(&7, 1).unwrap().give_back();
        let _ = limiter.take(&7, 1).unwrap();
        assert!(limiter.take(&7, 1).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_blocks_nobody() {
        let clock = Arc::new(Hand(Mutex::new(Timestamp::from_micros(3_600_000_000))));
        let rate = Rate::new(1, Duration::from_secs(60));
        let limiter = Limiter::new("test", "too many", rate, clock.clone());
        let _ = limiter.take(&1, 1).unwrap();
        *clock.0.lock() = Timestamp::from_micros(0);
        assert!(limiter.take(&1, 1).is_none());
        assert!(limiter.take(&2, 1).is_some());
        *clock.0.lock() = Timestamp::from_micros(61_000_000);
        assert!(limiter.take(&1, 1).is_some());
    }
}
