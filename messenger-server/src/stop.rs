//! Telling all connections to stop.

use parking_lot::Mutex;
use slab::Slab;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Whether connections are to stop, and who is woken then. (A cancellation token costs each of them several times the
/// memory, and a lock each time that it is polled.)
#[derive(Debug, Default)]
pub(crate) struct Stop {
    has_begun: AtomicBool,
    waiting: Mutex<Slab<Waker>>,
}

impl Stop {
    /// Wakes all who wait for it. May be called many times.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
        let waiting = mem::take(&mut *self.waiting.lock());
        // Without the lock: connections end meanwhile.
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }
}

/// Waits for the stop.
#[derive(Debug)]
pub(crate) struct Stopped {
    stop: Arc<Stop>,
    /// Where the waker is among those that wait, and a copy.
    place: Option<(usize, Waker)>,
}

impl Stopped {
    pub(crate) fn new(stop: Arc<Stop>) -> Self {
        Self { stop, place: None }
    }

    /// Ready once connections are to stop; the task is woken then.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.stop.has_begun() {
            return Poll::Ready(());
        }
        let is_waiting = self
            .place
            .as_ref()
            .map(|(_, waker)| waker.will_wake(cx.waker()));
        if is_waiting == Some(true) {
            return Poll::Pending;
        }
        self.leave();
        let mut waiting = self.stop.waiting.lock();
        // Whoever is not among them when they are woken sees it here.
        if self.stop.has_begun() {
            return Poll::Ready(());
        }
        let place = waiting.insert(cx.waker().clone());
        self.place = Some((place, cx.waker().clone()));
        Poll::Pending
    }

    fn leave(&mut self) {
        if let Some((place, _)) = self.place.take() {
            // Nobody is there any more once all were woken.
            self.stop.waiting.lock().try_remove(place);
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;

    #[test]
    fn all_who_wait_are_woken_by_the_waker_they_were_polled_with_last() {
        let stop = Arc::new(Stop::default());
        let [before, last] = [(); 2].map(|()| Arc::new(Woken::default()));
        let wakers = [&before, &last].map(|woken| Waker::from(Arc::clone(woken)));
        let mut all = [(); 3].map(|()| Stopped::new(Arc::clone(&stop)));
        for waker in &wakers {
            for stopped in &mut all {
                assert!(stopped.poll(&Context::from_waker(waker)).is_pending());
            }
        }
        let [gone, ..] = all;
        drop(gone);
        stop.begin();
        stop.begin();
        assert_eq!([before.count(), last.count()], [0, 2]);
        let mut late = Stopped::new(stop);
        assert!(late.poll(&Context::from_waker(Waker::noop())).is_ready());
    }
}
