//! Who is connected to this engine.

use crate::clock::Timestamp;
use crate::session::Login;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A session in use is noted as used this often, so that it does not expire under its user.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// The authenticated connections.
#[derive(Debug, Default)]
pub(crate) struct Online {
    logins: Mutex<HashMap<u64, Weak<Login>>>,
}

impl Online {
    pub(crate) fn insert(&self, login: &Arc<Login>) {
        let weak = Arc::downgrade(login);
        self.logins.lock().insert(login.number, weak);
    }

    pub(crate) fn remove(&self, number: u64) {
        self.logins.lock().remove(&number);
    }

    /// Has every session look into the store. Those that have not done so since they were told last.
    pub(crate) fn look_all(&self, now: Timestamp) -> Vec<Arc<Login>> {
        self.look(now, |_| true)
    }

    /// Has one part in `parts` of the sessions look into the store, and those whose last look failed.
    /// Those that have not looked since they were told last.
    pub(crate) fn look_part(&self, now: Timestamp, part: u64, parts: u64) -> Vec<Arc<Login>> {
        self.look(now, |login| {
            login.number % parts == part || login.looks_again()
        })
    }

    fn look(&self, now: Timestamp, chosen: impl Fn(&Login) -> bool) -> Vec<Arc<Login>> {
        // Held until the lock is open again: dropping the last one would take it.
        let logins: Vec<_> = {
            let logins = self.logins.lock();
            logins.values().filter_map(Weak::upgrade).collect()
        };
        let mut blind = Vec::new();
        for login in logins.into_iter().filter(|login| chosen(login)) {
            if login.device.used().after(NOTED_EVERY) < now {
                login.touch(now);
            }
            if login.mailbox.look() {
                blind.push(login);
            }
        }
        blind
    }
}
