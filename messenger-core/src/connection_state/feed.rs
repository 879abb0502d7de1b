//! The order in which a connection is given messages.
//!
//! The feed keeps a cursor: the sequence number of the last message it gave. Mail for the next number is given
//! at once; mail that skips numbers makes it read the gap from the store; older mail is ignored.

use super::Login;
use crate::clock::Timestamp;
use crate::delivery::{Delivery, DeliveryToken, Event, EventsEnded};
use crate::notifier::Mail;
use crate::shared::Shared;
use crate::storage::{PageLimits, StorageError};
use messenger_proto::{EvMessage, Message, SharedMessage};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How much is read from the store at once.
const PAGE: PageLimits = PageLimits::new(256, 256 * 1024);

/// A feed without mail keeps room for so much at the most.
const KEPT: usize = 16;

/// What a look into the store brings; `None` when the session has ended.
type Page = Option<Vec<(u64, Message)>>;
type Reading = Pin<Box<dyn Future<Output = Result<Page, StorageError>> + Send>>;

#[derive(Default)]
pub(crate) struct Feed {
    has_begun: bool,
    cursor: u64,
    /// The store may have messages behind the cursor that no mail will tell of.
    behind: bool,
    page: VecDeque<(u64, Message)>,
    /// Taken out of the mailbox.
    mail: VecDeque<Mail>,
    reading: Option<Reading>,
    /// The first page of what waited when it began has been given.
    has_caught_up: bool,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("cursor", &self.cursor)
            .field("behind", &self.behind)
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// True when it gave the message with this sequence number, or a later one.
    pub(super) fn has_given(&self, seq: u64) -> bool {
        seq <= self.cursor
    }

    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// True when the next message may have to be read from the store.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// How many bytes the next message has, if it is here already.
    pub(super) fn next_size(&self) -> Option<usize> {
        if let Some((_, message)) = self.page.front() {
            return Some(message.size());
        }
        match self.mail.front()? {
            Mail::Inbox { message, .. } => message.as_ref().map(|message| message.size()),
            Mail::Copy(message) => Some(message.size()),
            Mail::Resync | Mail::Overrun => None,
        }
    }

    pub(super) fn poll(
        &mut self,
        login: &Login,
        shared: &Arc<Shared>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Delivery, EventsEnded>> {
        if !self.has_begun {
            self.has_begun = true;
            self.behind = true;
            // The request that resumed the session may have acknowledged more.
            self.cursor = login.start.max(login.device.delivered_up_to());
        }
        loop {
            if let Some((seq, message)) = self.page.pop_front() {
                if self.page.is_empty() {
                    self.has_caught_up = true;
                }
                return self.give(login, seq, message.into(), None);
            }
            if self.behind {
                match ready!(self.read(login, shared, cx)) {
                    Ok(()) => continue,
                    // Mail is taken all the same: some comes when it is time to try again.
                    Err(()) => self.behind = false,
                }
            }
            if login.mailbox.has_ended() {
                return Poll::Pending;
            }
            self.has_caught_up = true;
            match ready!(self.poll_mail(login, cx)) {
                Mail::Inbox { seq, .. } if seq <= self.cursor => {}
                Mail::Inbox {
                    seq,
                    accepted,
                    message: Some(message),
                } if seq == self.cursor + 1 => {
                    return self.give(login, seq, message, Some(accepted));
                }
                Mail::Inbox { .. } | Mail::Resync => self.behind = true,
                Mail::Copy(message) => {
                    let event = Event::Message(EvMessage::new(None, message));
                    return Poll::Ready(Ok(Delivery { event, token: None }));
                }
                Mail::Overrun => return Poll::Ready(Err(EventsEnded::MissedCopies)),
            }
        }
    }

    /// The oldest mail. It is taken all at once, so that senders and recipient do not wait for each other at each.
    fn poll_mail(&mut self, login: &Login, cx: &mut Context<'_>) -> Poll<Mail> {
        loop {
            if let Some(mail) = self.mail.pop_front() {
                return Poll::Ready(mail);
            }
            if self.mail.capacity() > KEPT {
                self.mail = VecDeque::new();
            }
            ready!(login.mailbox.poll_all(&mut self.mail, cx));
        }
    }

    fn give(
        &mut self,
        login: &Login,
        seq: u64,
        message: SharedMessage,
        accepted: Option<Timestamp>,
    ) -> Poll<Result<Delivery, EventsEnded>> {
        self.cursor = seq;
        let bytes = message.size();
        Poll::Ready(Ok(Delivery {
            event: Event::Message(EvMessage::new(Some(seq), message)),
            token: Some(DeliveryToken {
                login: login.number,
                seq,
                bytes,
                accepted,
            }),
        }))
    }

    /// Reads the next page. The feed is no longer behind when it is empty.
    fn read(
        &mut self,
        login: &Login,
        shared: &Arc<Shared>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        let reading = self.reading.get_or_insert_with(|| {
            let storage = Arc::clone(&shared.storage);
            let look = login.device.look();
            let after = self.cursor;
            // The notice of its end may have been lost.
            Box::pin(async move { storage.inbox_for(&look, after, PAGE).await })
        });
        let page = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        login.entry.set_must_look(page.is_err());
        Poll::Ready(match page {
            Ok(Some(mut page)) => {
                self.behind = !page.is_empty();
                // It is read again when it comes next: the connection may not be asked for it for long.
                let is_large = |(_, message): &mut (u64, Message)| message.size() > PAGE.bytes;
                if page.len() > 1 {
                    page.pop_if(is_large);
                }
                self.page = page.into();
                Ok(())
            }
            Ok(None) => {
                login.end();
                self.behind = false;
                Ok(())
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    user = %login.user(),
                    "an inbox could not be read; it will be tried again"
                );
                Err(())
            }
        })
    }
}
