//! How many bytes of messages all inboxes hold, counted without every thread adding to one number.

use crate::sharded_counter::{PARTS, part};
use std::sync::atomic::{AtomicI64, Ordering};

/// The most that a thread has counted and not yet told the others, in bytes.
const STEP: u64 = 64 * 1024;

/// How many steps of a thread are in a bound that is lower: then they are shorter.
const STEPS: u64 = 1024;

/// What all inboxes hold, of which there is a bound. Each thread counts by itself and tells the others in steps, as
/// processors would wait for each other's caches at every message. So the sum is right within a step for each of
/// eight parts: half a mebibyte, or under a hundredth of the bound.
#[derive(Debug)]
pub(super) struct Held {
    limit: u64,
    step: u64,
    told: AtomicI64,
    parts: [Part; PARTS],
}

/// As large as what processors take from each other at once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicI64);

impl Held {
    /// Nothing yet, of so many bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            step: STEP.min(limit / STEPS),
            told: AtomicI64::new(0),
            parts: Default::default(),
        }
    }

    /// The bound, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How many bytes are left below the bound.
    pub(super) fn left(&self) -> u64 {
        // For a moment there may be less than nothing, when what is taken off was counted by another thread.
        let told = self.told.load(Ordering::Relaxed);
        self.limit.saturating_sub(u64::try_from(told).unwrap_or(0))
    }

    /// An inbox that held `before` bytes holds `after` now.
    pub(super) fn change(&self, before: u64, after: u64) {
        let more = after.checked_signed_diff(before).unwrap_or(0);
        let part = part();
        let Some(Part(own)) = self.parts.get(part).filter(|_| more != 0) else {
            return;
        };
        let is_shared = part == PARTS - 1;
        let counted = match is_shared {
            true => own.fetch_add(more, Ordering::Relaxed) + more,
            false => own.load(Ordering::Relaxed) + more,
        };
        if counted.unsigned_abs() >= self.step {
            // Of those who share a part each tells what it finds there.
            let counted = match is_shared {
                true => own.swap(0, Ordering::Relaxed),
                false => counted,
            };
            self.told.fetch_add(counted, Ordering::Relaxed);
            if !is_shared {
                own.store(0, Ordering::Relaxed);
            }
        } else if !is_shared {
            own.store(counted, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn threads_that_add_and_take_off_what_others_added_agree_within_a_step_each() {
        let held = Held::new(1024 * MIB);
        thread::scope(|scope| {
            for _ in 0..2 * PARTS {
                scope.spawn(|| (0..10_000).for_each(|_| held.change(500, 1600)));
            }
        });
        let most = STEP * PARTS as u64;
        let all = 2 * PARTS as u64 * 10_000 * 1100;
        let counted = held.limit() - held.left();
        assert!(all - counted < most, "{counted} of {all}");
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| held.change(all / 3, 0));
            }
        });
        assert!(held.limit() - held.left() < most);
    }

    #[test]
    fn a_low_bound_is_counted_in_small_steps() {
        let held = Held::new(100 * 1024);
        held.change(0, 1100);
        assert_eq!(held.left(), 100 * 1024 - 1100);
        held.change(1100, 0);
        assert_eq!(held.left(), 100 * 1024);
    }
}
