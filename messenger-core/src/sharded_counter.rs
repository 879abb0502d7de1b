//! Counting what every processor does all the time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads from this one on share the last part.
pub(crate) const PARTS: usize = 8;

thread_local! {
    /// Which part of every count is the thread's own.
    static PART: Cell<usize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        Cell::new(THREADS.fetch_add(1, Ordering::Relaxed).min(PARTS - 1))
    };
}

/// Which part of every count is the calling thread's own; the last one is shared.
#[inline]
pub(crate) fn part() -> usize {
    PART.get()
}

/// A count to which every thread adds in a place of its own: adding in the same one, processors would wait
/// for each other's caches. It is [taken](Self::take) to the recorder of metrics once a second.
#[derive(Default)]
pub(crate) struct ShardedCounter {
    parts: [Part; PARTS],
    /// How much was taken.
    taken: AtomicU64,
}

/// As large as what processors take from each other at once.
#[derive(Default)]
#[repr(align(128))]
struct Part(AtomicU64);

impl ShardedCounter {
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        let part = part();
        let Some(Part(own)) = self.parts.get(part) else {
            return;
        };
        if part == PARTS - 1 {
            own.fetch_add(more, Ordering::Relaxed);
        } else {
            // Nobody else writes there.
            own.store(own.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// What was counted since the last time.
    pub(crate) fn take(&self) -> u64 {
        let parts = self.parts.iter();
        let all = parts.map(|Part(part)| part.load(Ordering::Relaxed)).sum();
        u64::saturating_sub(all, self.taken.fetch_max(all, Ordering::Relaxed))
    }
}
