//! Who is connected to this engine.

use crate::clock::Timestamp;
use crate::notifier::Mailbox;
use crate::watermarks::{Device, Watermarks};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A session in use is noted as used this often, so that it does not expire under its user.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// The authenticated connections.
#[derive(Debug, Default)]
pub(crate) struct Online {
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
}

/// An authenticated connection: its session, and where notices wait for it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) device: Arc<Device>,
    pub(crate) mailbox: Mailbox,
    /// The last read of the inbox failed.
    read_failed: AtomicBool,
}

impl Entry {
    pub(crate) fn new(device: Arc<Device>, mailbox: Mailbox) -> Self {
        Self {
            device,
            mailbox,
            read_failed: AtomicBool::new(false),
        }
    }

    /// Notes whether the last read of the inbox failed.
    pub(crate) fn set_read_failed(&self, failed: bool) {
        self.read_failed.store(failed, Ordering::Relaxed);
    }
}

impl Online {
    pub(crate) fn insert(&self, number: u64, entry: Arc<Entry>) {
        self.entries.lock().insert(number, entry);
    }

    pub(crate) fn remove(&self, number: u64) {
        let removed = self.entries.lock().remove(&number);
        // Dropped without the lock.
        drop(removed);
    }

    /// All connections.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().cloned().collect()
    }

    /// Has every connection look into the store. Those that have not done so since they were told last.
    pub(crate) fn resync_all(&self, watermarks: &Watermarks, now: Timestamp) -> Vec<Arc<Entry>> {
        self.look(watermarks, now, |_, _| true)
    }

    /// Has one part in `parts` of the connections look into the store, and those whose last look failed.
    /// Those that have not looked since they were told last.
    pub(crate) fn resync_part(
        &self,
        watermarks: &Watermarks,
        now: Timestamp,
        part: u64,
        parts: u64,
    ) -> Vec<Arc<Entry>> {
        self.look(watermarks, now, |number, entry| {
            number % parts == part || entry.read_failed.load(Ordering::Relaxed)
        })
    }

    fn look(
        &self,
        watermarks: &Watermarks,
        now: Timestamp,
        is_chosen: impl Fn(u64, &Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        let chosen: Vec<_> = {
            let entries = self.entries.lock();
            let chosen = entries
                .iter()
                .filter(|(number, entry)| is_chosen(**number, entry));
            chosen.map(|(_, entry)| Arc::clone(entry)).collect()
        };
        let mut blind = Vec::new();
        for entry in chosen {
            let used = entry.device.used();
            if used > now {
                watermarks.used_at_most(&entry.device, now);
            } else if used.after(NOTED_EVERY) < now {
                watermarks.used(&entry.device, now);
            }
            if entry.mailbox.resync() {
                blind.push(entry);
            }
        }
        blind
    }
}
