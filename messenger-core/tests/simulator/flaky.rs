//! A notifier that loses, delays and doubles notices.

use messenger_core::notifier::{LocalNotifier, Mailbox, Notice, Notifier, Subscription};
use messenger_core::proto::UserId;
use messenger_core::testing::SeededEntropy;
use std::sync::Mutex;

/// Loses, delays and doubles notices as the seed says.
pub(crate) struct FlakyNotifier {
    inner: LocalNotifier,
    random: SeededEntropy,
    late: Mutex<Vec<(UserId, Notice)>>,
}

impl FlakyNotifier {
    pub(crate) fn new(random: SeededEntropy) -> Self {
        Self {
            inner: LocalNotifier::new(),
            random,
            late: Mutex::default(),
        }
    }

    /// Delivers one of the late notices, any of them.
    pub(crate) fn deliver_late(&self) {
        let mut late = self.late.lock().unwrap();
        if !late.is_empty() {
            let index = self.random.below(late.len());
            let (user, notice) = late.swap_remove(index);
            drop(late);
            self.inner.notify(&user, notice);
        }
    }
}

impl Notifier for FlakyNotifier {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        self.inner.subscribe(user, mailbox)
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        match self.random.below(10) {
            0 | 1 => {}
            2 | 3 => self.late.lock().unwrap().push((user.clone(), notice)),
            4 => {
                self.inner.notify(user, notice.clone());
                self.inner.notify(user, notice);
            }
            _ => self.inner.notify(user, notice),
        }
    }
}
