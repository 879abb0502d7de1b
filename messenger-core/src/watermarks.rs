//! Sessions' places in their inboxes, on their way to the store.
//!
//! A place moves with every message; the store is told lazily and in batches.

use crate::clock::Timestamp;
use crate::storage::{SessionKey, StorageError, Watermark};
use crate::timed_storage::TimedStorage;
use crate::watermark::{AtomicWatermark, Raise, Raised};
use messenger_proto::UserId;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A place that is this far ahead of the store is stored without delay: the inbox counts what was
/// given as waiting until then.
const URGENT: u64 = 1000;

/// What a message costs a store beside its text, in bytes.
const OVERHEAD: usize = 1024;

/// What is counted of a session's own before it is added to that of all, which every processor adds to.
const OWN_BYTES: usize = 4 * OVERHEAD;

/// A session as the engine remembers it while it is in use.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) key: SessionKey,
    /// The store does not know it, and is told nothing of it.
    pub(crate) is_ephemeral: bool,
    delivered_up_to: AtomicWatermark,
    stored: AtomicU64,
    /// In microseconds since the Unix epoch.
    used: AtomicWatermark,
    /// What was given and does not count as the marks' yet.
    bytes: AtomicUsize,
}

/// What the store does not know yet of a session.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Its place.
    Moved,
    /// Its last use, which is in no hurry: it decides only which session is the oldest one.
    Used,
}

/// The sessions of which the store does not know the newest.
#[derive(Debug)]
pub(crate) struct Watermarks {
    /// All places are urgent once so many bytes were given since the last time: the store keeps them until
    /// then.
    urgent_bytes: usize,
    moved: Raised<Device>,
    used: Raised<Device>,
    /// What was given since the store was told last.
    bytes: AtomicUsize,
    pub(crate) changed: Notify,
    pub(crate) urgent: Notify,
    closed: AtomicBool,
    flushing: tokio::sync::Mutex<()>,
}

impl Device {
    pub(crate) fn new(
        user: UserId,
        key: SessionKey,
        delivered_up_to: u64,
        used: Timestamp,
    ) -> Self {
        Self {
            user,
            key,
            is_ephemeral: false,
            delivered_up_to: AtomicWatermark::new(delivered_up_to),
            stored: AtomicU64::new(delivered_up_to),
            used: AtomicWatermark::new(used.as_micros()),
            bytes: AtomicUsize::new(0),
        }
    }

    /// A session that ends with its connection.
    pub(crate) fn ephemeral(user: UserId, delivered_up_to: u64, now: Timestamp) -> Self {
        let key = ephemeral_key(&user);
        Self {
            is_ephemeral: true,
            ..Self::new(user, key, delivered_up_to, now)
        }
    }

    /// Whether it is there, which an ephemeral one is as long as its user is. Notices of its end may be lost.
    pub(crate) async fn is_there(&self, storage: &TimedStorage) -> Result<bool, StorageError> {
        if self.is_ephemeral {
            return Ok(storage.profile(&self.user).await?.is_some());
        }
        Ok(storage.session(&self.user, &self.key).await?.is_some())
    }

    pub(crate) fn delivered_up_to(&self) -> u64 {
        self.delivered_up_to.get()
    }

    pub(crate) fn used(&self) -> Timestamp {
        Timestamp::from_micros(self.used.get())
    }

    fn mark(&self) -> Watermark {
        let delivered_up_to = self.delivered_up_to();
        self.stored.store(delivered_up_to, Ordering::Relaxed);
        Watermark {
            user: self.user.clone(),
            session: self.key,
            delivered_up_to,
            used: self.used(),
        }
    }
}

/// What all ephemeral sessions of a user are called: they end together, and what they send counts together.
pub(crate) fn ephemeral_key(user: &UserId) -> SessionKey {
    let hash = Sha256::new_with_prefix("ephemeral sessions of ");
    SessionKey(hash.chain_update(user.as_str()).finalize().into())
}

impl Watermarks {
    /// None yet; they are urgent once so many bytes were given.
    pub(crate) fn new(urgent_bytes: usize) -> Self {
        Self {
            urgent_bytes,
            moved: Raised::new(|device| &device.delivered_up_to),
            used: Raised::new(|device| &device.used),
            bytes: AtomicUsize::new(0),
            changed: Notify::new(),
            urgent: Notify::new(),
            closed: AtomicBool::new(false),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    /// The device was given everything up to `seq`, with so much text.
    pub(crate) fn delivered(&self, device: &Arc<Device>, seq: u64, text: usize) {
        if device.is_ephemeral {
            return;
        }
        let Some(Raise { before, is_new }) = self.moved.raise(device, seq) else {
            return;
        };
        if is_new {
            self.changed.notify_one();
        }
        let is_far = seq.saturating_sub(device.stored.load(Ordering::Relaxed)) >= URGENT;
        let messages = usize::try_from(seq - before).unwrap_or(usize::MAX);
        let bytes = messages.saturating_mul(OVERHEAD).saturating_add(text);
        if is_far || self.count(device, bytes) {
            self.urgent.notify_one();
        }
    }

    /// Counts what was given. True when it is so much that the store must be told.
    fn count(&self, device: &Device, bytes: usize) -> bool {
        let own = device.bytes.fetch_add(bytes, Ordering::Relaxed);
        if own.saturating_add(bytes) < OWN_BYTES {
            return false;
        }
        let own = device.bytes.swap(0, Ordering::Relaxed);
        let all = self.bytes.fetch_add(own, Ordering::Relaxed);
        all.saturating_add(own) >= self.urgent_bytes
    }

    /// The device is in use.
    pub(crate) fn used(&self, device: &Arc<Device>, now: Timestamp) {
        if !device.is_ephemeral {
            self.used.raise(device, now.as_micros());
        }
    }

    /// The device was used in what is the future: the clock was wrong.
    pub(crate) fn used_at_most(&self, device: &Arc<Device>, now: Timestamp) {
        if !device.is_ephemeral {
            self.used.set_back(device, now.as_micros());
        }
    }

    /// Stores the places that have moved.
    pub(crate) async fn flush_moved_watermarks(
        &self,
        storage: &TimedStorage,
    ) -> Result<(), StorageError> {
        self.flush(storage, &[Change::Moved]).await
    }

    /// Stores everything that has changed.
    pub(crate) async fn flush_all(&self, storage: &TimedStorage) -> Result<(), StorageError> {
        self.flush(storage, &[Change::Moved, Change::Used]).await
    }

    async fn flush(&self, storage: &TimedStorage, changes: &[Change]) -> Result<(), StorageError> {
        // Whoever returns from here finds everything stored, also what another flush had taken.
        let _flushing = self.flushing.lock().await;
        self.bytes.store(0, Ordering::Relaxed);
        let mut taken = Taken {
            devices: Vec::new(),
            from: self,
        };
        for change in changes {
            let raised = self.raised(*change).take().into_iter();
            taken.devices.extend(raised.map(|device| (device, *change)));
        }
        if taken.devices.is_empty() {
            return Ok(());
        }
        let watermarks = taken.devices.iter().map(|(device, _)| device.mark());
        storage.advance(watermarks.collect()).await?;
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

    fn raised(&self, change: Change) -> &Raised<Device> {
        match change {
            Change::Moved => &self.moved,
            Change::Used => &self.used,
        }
    }
}

/// Devices whose marks are on their way to the store. They are listed again unless they arrive, also
/// when the future that carries them is dropped.
struct Taken<'a> {
    devices: Vec<(Arc<Device>, Change)>,
    from: &'a Watermarks,
}

impl Taken<'_> {
    fn stored(mut self) {
        self.devices.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for (device, change) in &self.devices {
            self.from.raised(*change).list(device);
        }
        if !self.devices.is_empty() {
            self.from.changed.notify_one();
        }
    }
}
