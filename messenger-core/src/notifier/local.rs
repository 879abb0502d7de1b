//! Notices within one process.

use super::{Mailbox, Notice, Notifier, Subscription};
use messenger_proto::UserId;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Carries notices within one process. It loses none.
#[derive(Debug, Default)]
pub struct LocalNotifier {
    users: Arc<Users>,
    next: AtomicU64,
}

type Users = RwLock<HashMap<UserId, Vec<(u64, Mailbox)>>>;

impl LocalNotifier {
    /// A notifier without subscribers.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Notifier for LocalNotifier {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut users = self.users.write();
        users
            .entry(user.clone())
            .or_default()
            .push((number, mailbox));
        Subscription::new(Guard {
            users: Arc::clone(&self.users),
            user: user.clone(),
            number,
        })
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        let users = self.users.read();
        let Some(mailboxes) = users.get(user) else {
            return;
        };
        for (_, mailbox) in mailboxes {
            mailbox.deliver(notice.clone());
        }
    }
}

struct Guard {
    users: Arc<Users>,
    user: UserId,
    number: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut users = self.users.write();
        if let Some(mailboxes) = users.get_mut(&self.user) {
            mailboxes.retain(|(number, _)| *number != self.number);
            if mailboxes.is_empty() {
                users.remove(&self.user);
            }
        }
    }
}
