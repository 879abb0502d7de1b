//! Who is connected to this engine.

use crate::clock::Timestamp;
use crate::notifier::{Mailbox, Notice};
use crate::storage::{Seen, UserNumber};
use crate::watermarks::{Device, Watermarks};
use dashmap::DashMap;
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
    /// How many of them each user has.
    users: DashMap<UserNumber, usize>,
}

/// An authenticated connection: its session, and where notices wait for it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) device: Arc<Device>,
    pub(crate) mailbox: Mailbox,
    /// The store may have what the connection was not told of, because it failed when it was asked.
    must_look: AtomicBool,
}

impl Entry {
    pub(crate) fn new(device: Arc<Device>, mailbox: Mailbox) -> Self {
        Self {
            device,
            mailbox,
            must_look: AtomicBool::new(false),
        }
    }

    /// Notes whether the store must be asked again soon.
    pub(crate) fn set_must_look(&self, must_look: bool) {
        self.must_look.store(must_look, Ordering::Relaxed);
    }

    /// Tells the connection what a look into the store has found for it.
    pub(crate) fn tell(&self, seen: Seen) {
        self.set_must_look(false);
        match seen {
            Seen::Ended => self.mailbox.deliver(Notice::SessionEnded(self.device.key)),
            Seen::There { newest } if newest > self.device.delivered_up_to() => {
                self.mailbox.deliver(Notice::Inbox {
                    to: self.device.user_number,
                    seq: newest,
                    accepted: Timestamp::default(),
                    message: None,
                });
            }
            Seen::There { .. } => {}
        }
    }
}

impl Online {
    pub(crate) fn insert(&self, number: u64, entry: Arc<Entry>) {
        let user = entry.device.user_number;
        *self.users.entry(user).or_default() += 1;
        self.entries.lock().insert(number, entry);
    }

    pub(crate) fn remove(&self, number: u64) {
        // Without the lock from here on.
        let removed = self.entries.lock().remove(&number);
        if let Some(entry) = removed {
            let user = entry.device.user_number;
            self.users.remove_if_mut(&user, |_, count| {
                *count -= 1;
                *count == 0
            });
        }
    }

    /// True when the user has a connection to this engine.
    pub(crate) fn has(&self, user: UserNumber) -> bool {
        self.users.contains_key(&user)
    }

    /// All connections.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().cloned().collect()
    }

    /// One part in `parts` of the connections, and those that must look again. Notes that their sessions are in use.
    pub(crate) fn part(
        &self,
        watermarks: &Watermarks,
        now: Timestamp,
        part: u64,
        parts: u64,
    ) -> Vec<Arc<Entry>> {
        let chosen: Vec<_> = {
            let entries = self.entries.lock();
            let chosen = entries.iter().filter(|(number, entry)| {
                *number % parts == part || entry.must_look.load(Ordering::Relaxed)
            });
            chosen.map(|(_, entry)| Arc::clone(entry)).collect()
        };
        for entry in &chosen {
            let used = entry.device.used();
            if used > now {
                watermarks.used_at_most(&entry.device, now);
            } else if used.after(NOTED_EVERY) < now {
                watermarks.used(&entry.device, now);
            }
        }
        chosen
    }
}
