//! What a session's handles and its tasks work on together.

use super::outbox::Outbox;
use parking_lot::Mutex;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The outbox, and word for the worker that there is something to do.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) changed: Notify,
    failure: OnceLock<Arc<io::Error>>,
}

impl Desk {
    /// A message is in the store now, or could not be written there.
    pub(crate) fn kept(&self, number: u64, is_kept: bool) {
        let mut outbox = self.outbox.lock();
        if is_kept {
            outbox.wait(number);
        } else {
            outbox.remove(number);
        }
        self.changed.notify_one();
    }

    /// The store does not keep what it must.
    pub(crate) fn fail(&self, error: Arc<io::Error>) {
        // The first failure ends the session.
        let _ = self.failure.set(error);
        self.changed.notify_one();
    }

    /// What the store has failed with.
    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.failure.get().cloned()
    }
}
