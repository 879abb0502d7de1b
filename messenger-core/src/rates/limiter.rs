//! One limit, for any number of keys.

use crate::clock::{Clock, Timestamp};
use crate::meters;
use crate::policy::Rate;
use crate::rules::too_many;
use governor::clock::Clock as Ticking;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use messenger_proto::Failure;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// How many keys are counted, at some 25 bytes each; over it new ones are refused.
const KEYS: usize = 1_000_000;

/// Allows each key so much at once, and so much in a time.
#[derive(Debug)]
pub(crate) struct Limiter {
    reason: &'static str,
    limiter: RateLimiter<u64, Cells, Ticks, NoOpMiddleware<Duration>>,
    cells: Cells,
    ticks: Ticks,
    /// The time in which one more is allowed.
    period: Duration,
    /// Keys are hashed, so that they are all of one size; nobody can choose two that are the same.
    hasher: RandomState,
    hits: metrics::Counter,
}

/// What was taken, and may yet be given back.
#[must_use]
pub(crate) struct Held<'a> {
    limiter: &'a Limiter,
    key: u64,
}

impl Held<'_> {
    /// As if one had not been taken.
    pub(crate) fn give_back(self) {
        let Limiter {
            cells,
            period,
            ticks,
            ..
        } = self.limiter;
        cells.give_back(self.key, *period, ticks.now());
    }
}

impl Limiter {
    /// `name` is what its hits are counted under, `reason` what a client is told.
    pub(crate) fn new(
        name: &'static str,
        reason: &'static str,
        rate: Rate,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let shortest = Duration::from_nanos(1);
        let period = (rate.refilled_in / burst.get()).max(shortest);
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst));
        let cells = Cells::default();
        let ticks = Ticks::new(clock);
        Self {
            reason,
            limiter: RateLimiter::new(quota.allow_burst(burst), cells.clone(), ticks.clone()),
            ticks,
            cells,
            period,
            hasher: RandomState::new(),
            hits: meters::limit(name),
        }
    }

    /// Takes so many, or none.
    pub(crate) fn take(&self, key: &impl Hash, count: usize) -> Result<Held<'_>, Failure> {
        let key = self.hasher.hash_one(key);
        if self.allows(key, count) {
            return Ok(Held { limiter: self, key });
        }
        self.hits.increment(1);
        Err(too_many(self.reason))
    }

    fn allows(&self, key: u64, count: usize) -> bool {
        let Some(count) = u32::try_from(count).ok().map(NonZeroU32::new) else {
            return false;
        };
        let Some(count) = count else {
            return true;
        };
        if self.limiter.len() >= KEYS && !self.cells.has(key) {
            return false;
        }
        self.limiter
            .check_key_n(&key, count)
            .is_ok_and(|allowed| allowed.is_ok())
    }

    /// Forgets keys whose budget is whole again.
    pub(crate) fn forget_idle(&self) {
        self.limiter.retain_recent();
    }
}

/// The limiter's state, where what was taken can be given back.
#[derive(Clone, Debug, Default)]
struct Cells(Arc<Mutex<HashMap<u64, Nanos>>>);

impl Cells {
    fn has(&self, key: u64) -> bool {
        self.0.lock().contains_key(&key)
    }

    /// A cell whose budget is whole by then is none.
    fn give_back(&self, key: u64, period: Duration, now: Duration) {
        let mut cells = self.0.lock();
        if let Some(cell) = cells.get_mut(&key) {
            let period = Nanos::from(period).as_u64();
            *cell = cell.as_u64().saturating_sub(period).into();
            if *cell <= Nanos::from(now) {
                cells.remove(&key);
            }
        }
    }
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut cells = self.0.lock();
        let (outcome, cell) = measure(cells.get(key).copied())?;
        cells.insert(*key, cell);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Cells {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut cells = self.0.lock();
        cells.retain(|_, cell| *cell > drop_below);
        cells.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The engine's clock as the limiter reads it: when that is set back, time goes on from there.
#[derive(Clone, Debug)]
struct Ticks {
    clock: Arc<dyn Clock>,
    passed: Arc<Mutex<Passed>>,
}

#[derive(Debug)]
struct Passed {
    last: Timestamp,
    time: Duration,
}

impl Ticks {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let passed = Passed {
            last: clock.now(),
            time: Duration::ZERO,
        };
        Self {
            clock,
            passed: Arc::new(Mutex::new(passed)),
        }
    }
}

impl Ticking for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let mut passed = self.passed.lock();
        let now = self.clock.now();
        let since = now.since(passed.last);
        passed.time += since;
        passed.last = now;
        passed.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let rate = Rate {
            burst: 2,
            refilled_in: Duration::from_secs(60),
        };
        let limiter = Limiter::new("test", "too many", rate, clock.clone());
        for key in 0..KEYS {
            let _ = limiter.take(&key, 1).unwrap();
        }
        assert!(limiter.take(&KEYS, 1).is_err(), "nothing is known of it");
        assert!(limiter.take(&7_usize, 1).is_ok());
        *clock.0.lock() = Timestamp::from_micros(121_000_000);
        limiter.forget_idle();
        assert_eq!(limiter.cells.len(), 0);
        assert!(limiter.take(&KEYS, 1).is_ok());
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let rate = Rate {
            burst: 2,
            refilled_in: Duration::from_secs(60),
        };
        let limiter = Limiter::new("test", "too many", rate, Arc::new(Hand::default()));
        for key in 0..1000 {
            limiter.take(&key, 1).unwrap().give_back();
        }
        assert_eq!(limiter.cells.len(), 0);
        let _ = limiter.take(&7, 1).unwrap();
        limiter.take(&7, 1).unwrap().give_back();
        let _ = limiter.take(&7, 1).unwrap();
        assert!(limiter.take(&7, 1).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_blocks_nobody() {
        let clock = Arc::new(Hand(Mutex::new(Timestamp::from_micros(3_600_000_000))));
        let rate = Rate {
            burst: 1,
            refilled_in: Duration::from_secs(60),
        };
        let limiter = Limiter::new("test", "too many", rate, clock.clone());
        let _ = limiter.take(&1, 1).unwrap();
        *clock.0.lock() = Timestamp::from_micros(0);
        assert!(limiter.take(&1, 1).is_err());
        assert!(limiter.take(&2, 1).is_ok());
        *clock.0.lock() = Timestamp::from_micros(61_000_000);
        assert!(limiter.take(&1, 1).is_ok());
    }
}
