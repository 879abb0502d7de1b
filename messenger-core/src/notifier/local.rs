//! Notices within one process.

use super::{Mailbox, Notice, Notifier, Subscription};
use dashmap::DashMap;
use messenger_proto::UserId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Carries notices within one process. It loses none.
#[derive(Debug, Default)]
pub struct LocalNotifier {
    users: Arc<Users>,
    next: AtomicU64,
}

type Users = DashMap<UserId, Subscribers>;

/// Whoever is told of one user.
#[derive(Debug, Default)]
struct Subscribers {
    mailboxes: Vec<(u64, Mailbox)>,
    count: Arc<AtomicUsize>,
}

impl Subscribers {
    fn add(&mut self, number: u64, mailbox: Mailbox) {
        self.mailboxes.push((number, mailbox));
        self.count.store(self.mailboxes.len(), Ordering::SeqCst);
    }

    fn remove(&mut self, number: u64) {
        self.mailboxes.retain(|(other, _)| *other != number);
        self.count.store(self.mailboxes.len(), Ordering::SeqCst);
    }
}

impl LocalNotifier {
    /// A notifier without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    fn tell(&self, user: &UserId, notices: impl Iterator<Item = Notice> + Clone) {
        let Some(subscribers) = self.users.get(user) else {
            return;
        };
        if let Some(((_, last), others)) = subscribers.mailboxes.split_last() {
            for (_, mailbox) in others {
                mailbox.deliver_all(notices.clone());
            }
            last.deliver_all(notices);
        }
    }
}

impl Notifier for LocalNotifier {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut subscribers = self.users.entry(user.clone()).or_default();
        subscribers.add(number, mailbox);
        let guard = Guard {
            users: Arc::clone(&self.users),
            user: user.clone(),
            number,
        };
        Subscription::counted(guard, Arc::clone(&subscribers.count))
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        self.tell(user, std::iter::once(notice));
    }

    fn notify_all(&self, user: &UserId, notices: Vec<Notice>) {
        self.tell(user, notices.into_iter());
    }
}

struct Guard {
    users: Arc<Users>,
    user: UserId,
    number: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.users.remove_if_mut(&self.user, |_, subscribers| {
            subscribers.remove(self.number);
            subscribers.mailboxes.is_empty()
        });
    }
}
