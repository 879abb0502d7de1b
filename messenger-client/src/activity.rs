//! Whether anything moves on a connection, and how much has yet to.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// What a connection's tasks tell of themselves.
#[derive(Debug)]
pub(crate) struct Activity {
    /// When the last bytes were read or written.
    last: Mutex<Instant>,
    /// Bytes of requests that the system has not taken yet.
    unwritten: AtomicUsize,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            unwritten: AtomicUsize::new(0),
        }
    }
}

impl Activity {
    /// Bytes were read or written.
    pub(crate) fn moved(&self) {
        *self.last.lock() = Instant::now();
    }

    pub(crate) fn last(&self) -> Instant {
        *self.last.lock()
    }

    pub(crate) fn set_unwritten(&self, bytes: usize) {
        self.unwritten.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }
}
