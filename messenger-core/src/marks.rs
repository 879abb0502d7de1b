//! Sessions' places in their inboxes, on their way to the store.
//!
//! A place moves with every message; the store is told lazily and in batches.

use crate::clock::Timestamp;
use crate::storage::{Mark, SessionKey, Storage, StorageError};
use messenger_proto::UserId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// A place that is this far ahead of the store is stored without delay: the inbox counts what was
/// given as waiting until then.
const URGENT: u64 = 1000;

/// A session as the engine remembers it while it is in use.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) key: SessionKey,
    given: AtomicU64,
    stored: AtomicU64,
    used: AtomicU64,
    dirty: AtomicBool,
}

/// The sessions whose places the store does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    dirty: Mutex<Vec<Arc<Device>>>,
    pub(crate) changed: Notify,
    pub(crate) urgent: Notify,
    closed: AtomicBool,
    flushing: tokio::sync::Mutex<()>,
}

impl Device {
    pub(crate) fn new(user: UserId, key: SessionKey, given: u64, used: Timestamp) -> Self {
        Self {
            user,
            key,
            given: AtomicU64::new(given),
            stored: AtomicU64::new(given),
            used: AtomicU64::new(used.as_micros()),
            dirty: AtomicBool::new(false),
        }
    }

    pub(crate) fn used(&self) -> Timestamp {
        Timestamp::from_micros(self.used.load(Ordering::Relaxed))
    }

    fn mark(&self) -> Mark {
        let given = self.given.load(Ordering::Acquire);
        self.stored.store(given, Ordering::Relaxed);
        Mark {
            user: self.user.clone(),
            session: self.key,
            given,
            used: self.used(),
        }
    }
}

impl Marks {
    /// The device was given everything up to `seq`.
    pub(crate) fn given(&self, device: &Arc<Device>, seq: u64) {
        if device.given.fetch_max(seq, Ordering::AcqRel) >= seq {
            return;
        }
        self.note(device);
        if seq.saturating_sub(device.stored.load(Ordering::Relaxed)) >= URGENT {
            self.urgent.notify_one();
        }
    }

    /// The device is in use.
    pub(crate) fn used(&self, device: &Arc<Device>, now: Timestamp) {
        if device.used.fetch_max(now.as_micros(), Ordering::AcqRel) < now.as_micros() {
            self.note(device);
        }
    }

    /// Stores what has changed.
    pub(crate) async fn flush(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        // Whoever returns from here finds everything stored, also what another flush had taken.
        let _flushing = self.flushing.lock().await;
        let taken = Taken {
            devices: std::mem::take(&mut *self.dirty.lock()),
            from: self,
        };
        if taken.devices.is_empty() {
            return Ok(());
        }
        let marks = taken.devices.iter().map(|device| {
            // Before its place is read, so that a place that moves now is noted again.
            device.dirty.swap(false, Ordering::AcqRel);
            device.mark()
        });
        storage.advance(marks.collect()).await?;
        taken.stored();
        Ok(())
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn note(&self, device: &Arc<Device>) {
        if !device.dirty.swap(true, Ordering::AcqRel) {
            self.dirty.lock().push(Arc::clone(device));
            self.changed.notify_one();
        }
    }
}

/// Devices whose places are on their way to the store. They are noted again unless they arrive, also
/// when the future that carries them is dropped.
struct Taken<'a> {
    devices: Vec<Arc<Device>>,
    from: &'a Marks,
}

impl Taken<'_> {
    fn stored(mut self) {
        self.devices.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for device in &self.devices {
            self.from.note(device);
        }
    }
}
