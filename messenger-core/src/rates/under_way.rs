//! Attempts to authenticate of which it is not known yet whether they fail. Whom they keep from trying waits for that.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// What attempts are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Login(String),
    Network(IpAddr),
}

/// Those that there are, at most two keys each.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<Key, Attempts>>);

#[derive(Debug, Default)]
struct Attempts {
    count: usize,
    /// One of them has ended.
    ended: Arc<Notify>,
}

/// One of them, until this is dropped.
pub(super) struct Begun<'a> {
    of: &'a UnderWay,
    key: Key,
}

impl UnderWay {
    pub(super) fn begin(&self, key: Key) -> Begun<'_> {
        self.0.lock().entry(key.clone()).or_default().count += 1;
        Begun { of: self, key }
    }

    /// Ready once one of them has ended from now on. `None` when there is none.
    pub(super) fn next_end(&self, key: &Key) -> Option<OwnedNotified> {
        let attempts = self.0.lock();
        let ended = attempts.get(key).map(|of_key| Arc::clone(&of_key.ended));
        ended.map(Notify::notified_owned)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut attempts = self.of.0.lock();
        if let Some(of_key) = attempts.get_mut(&self.key) {
            of_key.count -= 1;
            if of_key.count == 0 {
                of_key.ended.notify_waiters();
                attempts.remove(&self.key);
            } else {
                // What it took, if that is given back, is for one.
                of_key.ended.notify_one();
            }
        }
    }
}
