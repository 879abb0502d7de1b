//! Sessions' watermarks, on their way to the store.
//!
//! A watermark moves with every message; the store is told lazily and in batches. Before a log-in only the watermarks of
//! the same user are stored. So users are divided into parts, and each part is stored by one task at a time: whoever finds
//! nothing to store there knows that it is stored.

use crate::clock::Timestamp;
use crate::storage::{Look, Owner, Seen, SessionKey, StorageError, UserNumber, Watermark};
use crate::timed_storage::{Kind, TimedStorage};
use crate::watermark::{AtomicWatermark, Raise, Raised};
use messenger_proto::UserId;
use sha2::{Digest, Sha256};
use std::array;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A watermark that is this far ahead of the store is stored without delay: until then the inbox counts what was
/// delivered as waiting.
const URGENT: u64 = 1000;

/// What a message costs a store beside its text, in bytes.
const OVERHEAD: usize = 1024;

/// What is counted of a session's own before it is added to that of all, which every processor adds to.
const OWN_BYTES: usize = 4 * OVERHEAD;

/// Into how many parts users are divided.
const PARTS: usize = 64;

/// A session as the engine remembers it while it is in use.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) user_number: UserNumber,
    pub(crate) key: SessionKey,
    /// The store does not know it, and is told nothing of it.
    pub(crate) is_ephemeral: bool,
    /// How often its user's ephemeral sessions had been ended when it began, if it is one.
    ephemeral_ended: u64,
    /// Its user's.
    part: usize,
    delivered_up_to: AtomicWatermark,
    stored: AtomicU64,
    /// In microseconds since the Unix epoch.
    used: AtomicWatermark,
    /// Bytes that were delivered and are not in the count of all watermarks yet.
    bytes: AtomicUsize,
}

/// What the store does not know yet of a session.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Its watermark.
    Moved,
    /// Its last use, which is in no hurry: it decides only which session is the oldest one.
    Used,
}

impl Change {
    const ALL: [Self; 2] = [Self::Moved, Self::Used];
}

/// The sessions of which the store does not know the newest.
#[derive(Debug)]
pub(crate) struct Watermarks {
    /// All watermarks are urgent once so many bytes were delivered since the last time: the store keeps them until
    /// then.
    urgent_bytes: usize,
    parts: [Part; PARTS],
    /// What was delivered since the store was told last.
    bytes: AtomicUsize,
    pub(crate) changed: Notify,
    pub(crate) urgent: Notify,
    closed: AtomicBool,
}

/// Those of some users.
#[derive(Debug)]
struct Part {
    moved: Raised<Device>,
    used: Raised<Device>,
    /// Held by whoever stores some of them.
    storing: tokio::sync::Mutex<()>,
}

impl Part {
    fn new() -> Self {
        Self {
            moved: Raised::new(|device| &device.delivered_up_to),
            used: Raised::new(|device| &device.used),
            storing: tokio::sync::Mutex::default(),
        }
    }

    fn raised(&self, change: Change) -> &Raised<Device> {
        match change {
            Change::Moved => &self.moved,
            Change::Used => &self.used,
        }
    }
}

impl Device {
    pub(crate) fn new(
        owner: Owner,
        key: SessionKey,
        delivered_up_to: u64,
        used: Timestamp,
    ) -> Self {
        Self {
            part: part_of(&owner.user),
            user: owner.user,
            user_number: owner.number,
            key,
            is_ephemeral: false,
            ephemeral_ended: 0,
            delivered_up_to: AtomicWatermark::new(delivered_up_to),
            stored: AtomicU64::new(delivered_up_to),
            used: AtomicWatermark::new(used.as_micros()),
            bytes: AtomicUsize::new(0),
        }
    }

    /// A session that ends with its connection, or with all like it, which were ended so often before.
    pub(crate) fn ephemeral(
        owner: Owner,
        ephemeral_ended: u64,
        delivered_up_to: u64,
        now: Timestamp,
    ) -> Self {
        let key = ephemeral_key(&owner.user);
        Self {
            is_ephemeral: true,
            ephemeral_ended,
            ..Self::new(owner, key, delivered_up_to, now)
        }
    }

    /// In whose name things are done through it.
    pub(crate) fn owner(&self) -> Owner {
        Owner::new(self.user.clone(), self.user_number)
    }

    /// What to ask the store, should the notice of its end have been lost.
    pub(crate) fn look(&self) -> Look {
        Look::new(self.owner(), (!self.is_ephemeral).then_some(self.key))
            .ephemeral_ended(self.ephemeral_ended)
    }

    /// Whether it is there now. Then it has been there since it began, and its user with it: what was read of the user
    /// before this was asked is this user's, and not a later one's of the same id.
    pub(crate) async fn is_there(&self, storage: &TimedStorage) -> Result<bool, StorageError> {
        let seen = storage.look(vec![self.look()]).await?;
        Ok(matches!(seen.first(), Some(Seen::There { .. })))
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

fn part_of(user: &UserId) -> usize {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    let [byte, ..] = hasher.finish().to_le_bytes();
    usize::from(byte) % PARTS
}

impl Watermarks {
    /// None yet; they are urgent once so many bytes were delivered.
    pub(crate) fn new(urgent_bytes: usize) -> Self {
        Self {
            urgent_bytes,
            parts: array::from_fn(|_| Part::new()),
            bytes: AtomicUsize::new(0),
            changed: Notify::new(),
            urgent: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Everything up to `seq`, with so much text, is delivered to the device.
    pub(crate) fn delivered(&self, device: &Arc<Device>, seq: u64, text: usize) {
        if device.is_ephemeral {
            return;
        }
        let Some(part) = self.parts.get(device.part) else {
            return;
        };
        let Some(Raise { before, is_new }) = part.moved.raise(device, seq) else {
            return;
        };
        if is_new {
            self.changed.notify_one();
        }
        let is_far = seq.saturating_sub(device.stored.load(Ordering::Relaxed)) >= URGENT;
        // Some may be missing between them, or very many after a restore.
        let messages = usize::try_from((seq - before).min(URGENT)).unwrap_or(usize::MAX);
        let bytes = messages.saturating_mul(OVERHEAD).saturating_add(text);
        if is_far || self.count(device, bytes) {
            self.urgent.notify_one();
        }
    }

    /// Counts what was delivered. True when it is so much that the store must be told.
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
        if let Some(part) = self.parts.get(device.part)
            && !device.is_ephemeral
        {
            part.used.raise(device, now.as_micros());
        }
    }

    /// The device was used in what is the future: the clock was wrong.
    pub(crate) fn used_at_most(&self, device: &Arc<Device>, now: Timestamp) {
        if let Some(part) = self.parts.get(device.part)
            && !device.is_ephemeral
        {
            part.used.set_back(device, now.as_micros());
        }
    }

    /// Stores what has changed of a user's sessions, before a new one begins.
    pub(crate) async fn flush_user(
        &self,
        storage: &TimedStorage,
        user: &UserId,
    ) -> Result<(), StorageError> {
        let of_user = |device: &Device| device.user == *user;
        self.flush_part(storage, part_of(user), &Change::ALL, of_user)
            .await
    }

    /// Stores the watermarks of a user's sessions, before one of them goes on.
    pub(crate) async fn flush_moved_of(
        &self,
        storage: &TimedStorage,
        user: &UserId,
    ) -> Result<(), StorageError> {
        let of_user = |device: &Device| device.user == *user;
        self.flush_part(storage, part_of(user), &[Change::Moved], of_user)
            .await
    }

    /// Stores the watermark of a session, and with it those of sessions that wait for the same.
    pub(crate) async fn flush_moved_with(
        &self,
        storage: &TimedStorage,
        device: &Device,
    ) -> Result<(), StorageError> {
        self.flush_part(storage, device.part, &[Change::Moved], |_| true)
            .await
    }

    /// Stores the watermarks that have moved, but for those that another task is storing: they come next.
    pub(crate) async fn flush_moved(&self, storage: &TimedStorage) -> Result<(), StorageError> {
        if !self.flush_free(storage, &[Change::Moved]).await?.is_empty() {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Stores everything that has changed.
    pub(crate) async fn flush_all(&self, storage: &TimedStorage) -> Result<(), StorageError> {
        for part in self.flush_free(storage, &Change::ALL).await? {
            self.flush_part(storage, part, &Change::ALL, |_| true)
                .await?;
        }
        Ok(())
    }

    /// Stores what is wanted of a part. Whoever returns from here finds it stored, also what another had taken.
    async fn flush_part(
        &self,
        storage: &TimedStorage,
        number: usize,
        changes: &[Change],
        is_wanted: impl Fn(&Device) -> bool,
    ) -> Result<(), StorageError> {
        let Some(part) = self.parts.get(number) else {
            return Ok(());
        };
        let flushed = async {
            let _storing = part.storing.lock().await;
            let mut taken = Taken::new(self);
            taken.take(part, changes, is_wanted);
            taken.store(storage).await
        };
        // Whoever is storing now may take as long as a call may; together they must not take longer.
        storage.in_time(Kind::Write, flushed).await
    }

    /// Stores, in one call, what has changed in the parts that nobody else is storing. Those that somebody is.
    async fn flush_free(
        &self,
        storage: &TimedStorage,
        changes: &[Change],
    ) -> Result<Vec<usize>, StorageError> {
        self.bytes.store(0, Ordering::Relaxed);
        let mut taken = Taken::new(self);
        let (mut storing, mut busy) = (Vec::new(), Vec::new());
        for (number, part) in self.parts.iter().enumerate() {
            let Ok(guard) = part.storing.try_lock() else {
                busy.push(number);
                continue;
            };
            // Nobody waits for a part of which nothing is on its way.
            if taken.take(part, changes, |_| true) {
                storing.push(guard);
            }
        }
        taken.store(storage).await?;
        Ok(busy)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Devices whose marks are on their way to the store. They are listed again unless they arrive, also
/// when the future that carries them is dropped.
struct Taken<'a> {
    devices: Vec<(Arc<Device>, Change)>,
    from: &'a Watermarks,
}

impl<'a> Taken<'a> {
    fn new(from: &'a Watermarks) -> Self {
        Self {
            devices: Vec::new(),
            from,
        }
    }

    /// Takes what is wanted of a part. True when there was something.
    fn take(
        &mut self,
        part: &Part,
        changes: &[Change],
        is_wanted: impl Fn(&Device) -> bool,
    ) -> bool {
        let before = self.devices.len();
        for change in changes {
            let raised = part.raised(*change).take(&is_wanted).into_iter();
            self.devices.extend(raised.map(|device| (device, *change)));
        }
        self.devices.len() > before
    }

    async fn store(mut self, storage: &TimedStorage) -> Result<(), StorageError> {
        if self.devices.is_empty() {
            return Ok(());
        }
        let watermarks = self.devices.iter().map(|(device, _)| device.mark());
        storage.advance(watermarks.collect()).await?;
        self.devices.clear();
        Ok(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for (device, change) in &self.devices {
            if let Some(part) = self.from.parts.get(device.part) {
                part.raised(*change).list(device);
            }
        }
        if !self.devices.is_empty() {
            self.from.changed.notify_one();
        }
    }
}
