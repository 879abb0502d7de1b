//! Counting what every processor does all the time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads beyond so many share a part.
const PARTS: usize = 8;

thread_local! {
    /// Which part of every tally is the thread's own.
    static PART: Cell<usize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % PARTS)
    };
}

/// A count to which every thread adds in a place of its own: adding in the same one, processors would wait
/// for each other's caches. It is [taken](Self::take) to the recorder of metrics once a second.
#[derive(Default)]
pub(crate) struct Tally([Part; PARTS]);

/// As large as what processors take from each other at once.
#[derive(Default)]
#[repr(align(128))]
struct Part(AtomicU64);

impl Tally {
    pub(crate) fn count(&self) {
        if let Some(Part(own)) = self.0.get(PART.get()) {
            own.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last time.
    pub(crate) fn take(&self) -> u64 {
        let parts = self.0.iter();
        parts
            .map(|Part(part)| part.swap(0, Ordering::Relaxed))
            .sum()
    }
}
