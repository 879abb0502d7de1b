//! Notices within one process.

use super::{Mailbox, Notice, Notifier, Subscription};
use dashmap::DashMap;
use messenger_proto::UserId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Carries notices within one process. It loses none.
#[derive(Debug, Default)]
pub struct LocalNotifier {
    users: Arc<Users>,
    next: AtomicU64,
}

type Users = DashMap<UserId, Vec<(u64, Mailbox)>>;

impl LocalNotifier {
    /// A notifier without subscribers.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Notifier for LocalNotifier {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.users
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
        let Some(mailboxes) = self.users.get(user) else {
            return;
        };
        if let Some(((_, last), others)) = mailboxes.split_last() {
            for (_, mailbox) in others {
                mailbox.deliver(notice.clone());
            }
            last.deliver(notice);
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
        self.users.remove_if_mut(&self.user, |_, mailboxes| {
            mailboxes.retain(|(number, _)| *number != self.number);
            mailboxes.is_empty()
        });
    }
}
