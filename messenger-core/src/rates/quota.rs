//! How much is allowed, and what is left of it, as one number.

use crate::clock::Timestamp;
use crate::policy::Rate;
use std::time::Duration;

/// The longest time in which a budget refills: a century. Sums of it and of today stay in range.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// So much at once, and one more in each period: the generic cell rate algorithm (GCRA).
///
/// All that is kept of a budget is the moment at which it will be whole again, in nanoseconds since the Unix
/// epoch: whatever is taken moves it on by a period each. A budget nobody has taken from is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// The time in which one more is allowed, in nanoseconds.
    period: u64,
    /// The time in which nothing becomes everything, in nanoseconds.
    refilled_in: u64,
}

impl Quota {
    pub(crate) fn new(rate: Rate) -> Self {
        let burst = u64::from(rate.burst.max(1));
        let refilled_in = rate.refilled_in.min(LONGEST).as_nanos();
        let period = u64::try_from(refilled_in).unwrap_or(u64::MAX) / burst;
        let period = period.max(1);
        Self {
            period,
            refilled_in: period * burst,
        }
    }

    /// Takes so many from the budget, or none. False when it holds fewer.
    pub(crate) fn take(self, whole_at: &mut u64, now: Timestamp, count: u64) -> bool {
        *whole_at = (*whole_at).clamp(nanos(now), self.if_empty(now));
        let taken = whole_at.saturating_add(self.period.saturating_mul(count));
        let is_enough = taken <= self.if_empty(now);
        if is_enough {
            *whole_at = taken;
        }
        is_enough
    }

    /// The most that can be taken at once.
    pub(super) fn burst(self) -> u64 {
        self.refilled_in / self.period
    }

    /// As if one had not been taken.
    pub(crate) fn give_back(self, whole_at: &mut u64) {
        *whole_at = whole_at.saturating_sub(self.period);
    }

    /// True when nothing is missing: the budget need not be kept.
    pub(crate) fn is_whole(self, whole_at: &mut u64, now: Timestamp) -> bool {
        // When the clock was set back, an empty budget refills from there.
        *whole_at = (*whole_at).min(self.if_empty(now));
        *whole_at <= nanos(now)
    }

    /// When a budget that holds nothing now will be whole.
    pub(crate) fn if_empty(self, now: Timestamp) -> u64 {
        nanos(now).saturating_add(self.refilled_in)
    }
}

fn nanos(time: Timestamp) -> u64 {
    time.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn two_a_minute() -> Quota {
        Quota::new(Rate::new(2, Duration::from_secs(60)))
    }

    #[test]
    fn one_more_is_allowed_in_each_period() {
        let (quota, mut budget) = (two_a_minute(), 0);
        assert!(!quota.take(&mut budget, second(100), 3), "over the burst");
        assert!(quota.take(&mut budget, second(100), 2));
        assert!(!quota.take(&mut budget, second(129), 1));
        assert!(quota.take(&mut budget, second(130), 1));
        assert!(!quota.take(&mut budget, second(189), 2));
        assert!(!quota.is_whole(&mut budget, second(189)));
        assert!(quota.is_whole(&mut budget, second(190)));
        assert!(quota.take(&mut budget, second(190), 2));
    }

    #[test]
    fn when_the_clock_is_set_back_a_budget_refills_from_there() {
        let quota = two_a_minute();
        for ask in [
            |quota: Quota, budget: &mut u64| quota.take(budget, second(0), 1),
            |quota: Quota, budget: &mut u64| quota.is_whole(budget, second(0)),
        ] {
            let mut budget = 0;
            assert!(quota.take(&mut budget, second(3600), 2));
            assert!(!ask(quota, &mut budget));
            assert!(quota.take(&mut budget, second(60), 2));
        }
    }

    #[test]
    fn any_rate_can_be_counted() {
        let today = second(1_800_000_000);
        for burst in [0, 1, u32::MAX] {
            for refilled_in in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let (quota, mut budget) = (Quota::new(Rate::new(burst, refilled_in)), 0);
                let all = u64::from(burst.max(1));
                assert!(!quota.take(&mut budget, today, all + 1));
                assert!(quota.take(&mut budget, today, all));
                assert!(!quota.take(&mut budget, today, 1));
            }
        }
    }
}
