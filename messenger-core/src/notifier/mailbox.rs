//! Where notices wait for a connection.

use super::{ConnectionId, Notice};
use crate::clock::Timestamp;
use crate::storage::{SessionKey, UserNumber};
use messenger_proto::SharedMessage;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// What a waiting message costs beside its text, in bytes.
const OVERHEAD: usize = 256;

/// Where notices wait for a connection, in bounded memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: ConnectionId,
    user: UserNumber,
    session: SessionKey,
    budget: usize,
    ended: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    mail: VecDeque<Mail>,
    /// What it takes, and what was taken all at once and not yet given.
    bytes: usize,
    /// How much of that was taken.
    taken: usize,
    /// The store may have more than the mail tells.
    resync: bool,
    /// A copy did not fit.
    overrun: bool,
    /// The connection is to be woken.
    is_news: bool,
    waker: Option<Waker>,
    /// Woken only when the session ends.
    ended_waker: Option<Waker>,
}

/// What a connection finds in its mailbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mail {
    /// A message stands in the inbox.
    Inbox {
        /// Its sequence number.
        seq: u64,
        /// When it was accepted.
        accepted: Timestamp,
        /// The message, if it came along.
        message: Option<SharedMessage>,
    },
    /// Another connection of the user has sent this.
    Copy(SharedMessage),
    /// The store may have more than the mail told.
    Resync,
    /// A copy did not fit into the mailbox and is lost.
    Overrun,
}

impl Mail {
    fn size(&self) -> usize {
        let message = match self {
            Self::Inbox { message, .. } => message.as_ref(),
            Self::Copy(message) => Some(message),
            Self::Resync | Self::Overrun => None,
        };
        // The text, and its encoding.
        OVERHEAD + message.map_or(0, |message| 2 * message.size())
    }
}

impl Mailbox {
    /// An empty mailbox for a connection, its user and its session, holding up to `budget` bytes.
    pub fn new(
        connection: ConnectionId,
        user: UserNumber,
        session: SessionKey,
        budget: usize,
    ) -> Self {
        Self(Arc::new(Shared {
            connection,
            user,
            session,
            budget,
            ended: AtomicBool::new(false),
            waiting: Mutex::default(),
        }))
    }

    /// Puts a notice in. What does not fit becomes a resync, and so does what is meant for another user of the same id:
    /// one of the two is no more.
    pub fn deliver(&self, notice: Notice) {
        self.deliver_all(std::iter::once(notice));
    }

    /// Puts notices in, in their order, as [`deliver`](Self::deliver) does one after the other, but wakes the connection once.
    pub(crate) fn deliver_all(&self, notices: impl IntoIterator<Item = Notice>) {
        self.wake(|waiting| {
            for notice in notices {
                self.0.put(waiting, notice);
            }
        });
    }

    /// Makes the connection look into the store.
    pub fn resync(&self) {
        self.wake(Waiting::resync);
    }

    /// True once the session has ended.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Takes the oldest mail, or has the task woken when there is some.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail> {
        let mut waiting = self.0.waiting.lock();
        if let Some(mail) = waiting.take() {
            return Poll::Ready(mail);
        }
        waiting.wake_later(cx);
        Poll::Pending
    }

    /// Takes all mail there is into `mail`, which is empty, or has the task woken when there is some. What was taken
    /// counts as waiting until the next time.
    pub(crate) fn poll_all(&self, mail: &mut VecDeque<Mail>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.waiting.lock();
        waiting.bytes -= mem::take(&mut waiting.taken);
        if waiting.take_all(mail) {
            waiting.taken = waiting.bytes;
            return Poll::Ready(());
        }
        waiting.wake_later(cx);
        Poll::Pending
    }

    /// Ready once the session has ended. Whoever polls this takes no mail and is woken by none.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.waiting.lock();
        if self.has_ended() {
            return Poll::Ready(());
        }
        match &mut waiting.ended_waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Makes a change, and wakes the connection if that was news to it.
    fn wake(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.0.waiting.lock();
        change(&mut waiting);
        let is_news = mem::take(&mut waiting.is_news);
        let waker = waiting.waker.take_if(|_| is_news);
        let ended_waker = waiting.ended_waker.take_if(|_| self.has_ended());
        drop(waiting);
        for waker in [waker, ended_waker].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Shared {
    fn put(&self, waiting: &mut Waiting, notice: Notice) {
        match notice {
            Notice::Inbox { to: other, .. } | Notice::Copy { from: other, .. }
                if other != self.user =>
            {
                waiting.resync();
            }
            Notice::Inbox {
                seq,
                accepted,
                message,
                ..
            } => waiting.put(
                Mail::Inbox {
                    seq,
                    accepted,
                    message,
                },
                self.budget,
            ),
            Notice::Resync => waiting.resync(),
            Notice::Copy { origin, .. } if origin == self.connection => {}
            Notice::Copy { message, .. } => waiting.put(Mail::Copy(message), self.budget),
            Notice::SessionEnded(session) if session != self.session => {}
            Notice::SessionEnded(_) | Notice::UserDeleted => {
                self.ended.store(true, Ordering::Release);
                waiting.is_news = true;
            }
        }
    }
}

impl Waiting {
    fn put(&mut self, mail: Mail, budget: usize) {
        self.is_news = true;
        let size = mail.size();
        // One message alone always fits, however large.
        if self.mail.is_empty() || self.bytes + size <= budget {
            self.bytes += size;
            self.mail.push_back(mail);
        } else if let Mail::Copy(_) = mail {
            self.overrun = true;
        } else {
            self.resync = true;
        }
    }

    fn resync(&mut self) {
        self.is_news = true;
        self.resync = true;
    }

    fn take(&mut self) -> Option<Mail> {
        if self.overrun {
            return Some(Mail::Overrun);
        }
        if let Some(mail) = self.mail.pop_front() {
            self.bytes -= mail.size();
            if self.mail.is_empty() && self.mail.capacity() > 64 {
                self.mail = VecDeque::new();
            }
            return Some(mail);
        }
        mem::take(&mut self.resync).then_some(Mail::Resync)
    }

    /// False when there is none.
    fn take_all(&mut self, mail: &mut VecDeque<Mail>) -> bool {
        if self.overrun {
            mail.push_back(Mail::Overrun);
            return true;
        }
        mem::swap(&mut self.mail, mail);
        if mem::take(&mut self.resync) {
            mail.push_back(Mail::Resync);
        }
        !mail.is_empty()
    }

    fn wake_later(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_proto::Message;

    fn mailbox(budget: usize) -> Mailbox {
        let connection = ConnectionId {
            engine: 1,
            number: 1,
        };
        Mailbox::new(connection, UserNumber(1), SessionKey([0; 32]), budget)
    }

    fn poll(mailbox: &Mailbox) -> Poll<Mail> {
        mailbox.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn inbox(seq: u64) -> Notice {
        Notice::Inbox {
            to: UserNumber(1),
            seq,
            accepted: Timestamp::default(),
            message: None,
        }
    }

    /// Somebody was deleted, and somebody else has the id by now.
    #[test]
    fn what_is_meant_for_another_user_of_the_id_is_not_told() {
        let mailbox = mailbox(10 * OVERHEAD);
        let (to, from) = (UserNumber(2), UserNumber(2));
        let origin = ConnectionId {
            engine: 1,
            number: 2,
        };
        let message = Message::default();
        let copy = Notice::Copy {
            from,
            origin,
            message: message.clone().into(),
        };
        let stored = Notice::Inbox {
            to,
            seq: 1,
            accepted: Timestamp::default(),
            message: Some(message.into()),
        };
        for notice in [copy, stored] {
            mailbox.deliver(notice);
            assert!(matches!(poll(&mailbox), Poll::Ready(Mail::Resync)));
            assert!(poll(&mailbox).is_pending());
        }
    }

    #[test]
    fn what_does_not_fit_is_looked_up_and_the_budget_is_given_back() {
        let mailbox = mailbox(2 * OVERHEAD);
        for _ in 0..3 {
            for seq in 1..=9 {
                mailbox.deliver(inbox(seq));
            }
            assert!(matches!(
                poll(&mailbox),
                Poll::Ready(Mail::Inbox { seq: 1, .. })
            ));
            assert!(matches!(
                poll(&mailbox),
                Poll::Ready(Mail::Inbox { seq: 2, .. })
            ));
            assert!(matches!(poll(&mailbox), Poll::Ready(Mail::Resync)));
            assert!(poll(&mailbox).is_pending());
        }
    }

    #[test]
    fn what_was_taken_all_at_once_counts_until_the_next_time() {
        let mailbox = mailbox(3 * OVERHEAD);
        let mut mail = VecDeque::new();
        let mut take = || {
            let taken = mailbox.poll_all(&mut mail, &mut Context::from_waker(Waker::noop()));
            let taken = taken.map(|()| mail.drain(..).collect::<Vec<_>>());
            let seq = |mail| match mail {
                Mail::Inbox { seq, .. } => Some(seq),
                _ => None,
            };
            taken.map(|mail| mail.into_iter().map(seq).collect::<Vec<_>>())
        };
        (1..=2).for_each(|seq| mailbox.deliver(inbox(seq)));
        assert_eq!(take(), Poll::Ready(vec![Some(1), Some(2)]));
        (3..=9).for_each(|seq| mailbox.deliver(inbox(seq)));
        let resync = None;
        assert_eq!(take(), Poll::Ready(vec![Some(3), resync]));
        (1..=9).for_each(|seq| mailbox.deliver(inbox(seq)));
        assert_eq!(take(), Poll::Ready(vec![Some(1), Some(2), resync]));
        assert_eq!(take(), Poll::Pending);
        (1..=9).for_each(|seq| mailbox.deliver(inbox(seq)));
        assert_eq!(take(), Poll::Ready(vec![Some(1), Some(2), Some(3), resync]));
    }

    #[test]
    fn a_copy_that_does_not_fit_is_told() {
        let mailbox = mailbox(OVERHEAD);
        let large = Message::default().body("x".repeat(10 * OVERHEAD));
        let origin = ConnectionId {
            engine: 1,
            number: 2,
        };
        let copy = Notice::Copy {
            from: UserNumber(1),
            origin,
            message: large.into(),
        };
        mailbox.deliver(copy.clone());
        assert!(
            matches!(poll(&mailbox), Poll::Ready(Mail::Copy(_))),
            "one always fits"
        );
        mailbox.deliver(copy.clone());
        mailbox.deliver(copy);
        assert!(matches!(poll(&mailbox), Poll::Ready(Mail::Overrun)));
    }
}
