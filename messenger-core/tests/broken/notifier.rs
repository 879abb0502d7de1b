//! Notifiers that break a promise.

use messenger_core::notifier::{
    ConnectionId, LocalNotifier, Mailbox, Notice, Notifier, Subscription,
};
use messenger_core::proto::UserId;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Reorders,
    LosesSomeAndAsksForNoLook,
    DoublesCopies,
    GivesCopiesToTheirOrigin,
    TellsThoseWhoHaveLeft,
    TellsEverybody,
    TellsOneMailboxOnly,
    EndsAllSessionsOfAUser,
    LosesTheEndOfASession,
    LosesTheEndOfAUser,
    LosesLooks,
    TakesEverySubscriptionForTheOnlyOne,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::Reorders,
        Self::LosesSomeAndAsksForNoLook,
        Self::DoublesCopies,
        Self::GivesCopiesToTheirOrigin,
        Self::TellsThoseWhoHaveLeft,
        Self::TellsEverybody,
        Self::TellsOneMailboxOnly,
        Self::EndsAllSessionsOfAUser,
        Self::LosesTheEndOfASession,
        Self::LosesTheEndOfAUser,
        Self::LosesLooks,
        Self::TakesEverySubscriptionForTheOnlyOne,
    ];
}

pub(crate) struct Broken {
    inner: LocalNotifier,
    fault: Fault,
    count: AtomicU64,
    held: Mutex<Option<Notice>>,
    users: Mutex<Vec<UserId>>,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            inner: LocalNotifier::new(),
            fault,
            count: AtomicU64::new(0),
            held: Mutex::default(),
            users: Mutex::default(),
        }
    }
}

impl Notifier for Broken {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        let mut users = self.users.lock().unwrap();
        let is_first = !users.contains(user);
        users.push(user.clone());
        if self.fault == Fault::TellsOneMailboxOnly && !is_first {
            return Subscription::new(());
        }
        let subscription = self.inner.subscribe(user, mailbox);
        match self.fault {
            Fault::TellsThoseWhoHaveLeft => {
                std::mem::forget(subscription);
                Subscription::new(())
            }
            Fault::TakesEverySubscriptionForTheOnlyOne => {
                Subscription::counted(subscription, AtomicUsize::new(1).into())
            }
            _ => subscription,
        }
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let tell = |notice| self.inner.notify(user, notice);
        match (self.fault, notice) {
            (Fault::Reorders, notice @ Notice::Inbox { seq: 50, .. }) => {
                *self.held.lock().unwrap() = Some(notice);
            }
            (Fault::Reorders, notice @ Notice::Inbox { seq: 51, .. }) => {
                tell(notice);
                self.held.lock().unwrap().take().map(tell);
            }
            (Fault::LosesSomeAndAsksForNoLook, Notice::Inbox { .. }) if number % 10 == 9 => {}
            (Fault::DoublesCopies, notice @ Notice::Copy { .. }) => {
                tell(notice.clone());
                tell(notice);
            }
            (Fault::GivesCopiesToTheirOrigin, Notice::Copy { from, message, .. }) => {
                let origin = ConnectionId::new(0, 0);
                tell(Notice::Copy {
                    from,
                    origin,
                    message,
                });
            }
            (Fault::TellsEverybody, notice) => {
                for other in self.users.lock().unwrap().iter() {
                    self.inner.notify(other, notice.clone());
                }
            }
            (Fault::EndsAllSessionsOfAUser, Notice::SessionEnded(_)) => tell(Notice::UserDeleted),
            (Fault::LosesTheEndOfASession, Notice::SessionEnded(_))
            | (Fault::LosesTheEndOfAUser, Notice::UserDeleted)
            | (Fault::LosesLooks, Notice::Resync) => {}
            (_, notice) => tell(notice),
        }
    }
}
