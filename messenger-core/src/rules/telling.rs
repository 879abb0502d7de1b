//! Who is told of messages that were stored: for each run of messages to the same user once.

use crate::connection_state::ConnectionState;
use crate::notifier::{Notice, Notifier};
use crate::storage::{NewMessage, UserNumber};
use messenger_proto::{EvMessage, UserId};

/// Gathers what is to be told of messages of one connection; it is told at the latest when this is dropped.
pub(super) struct Telling<'a> {
    connection: &'a ConnectionState,
    /// The sender has no other connection.
    is_only: bool,
    /// For the sender's other connections.
    copies: Run<'a>,
    /// For recipients.
    stored: Run<'a>,
}

/// Notices for one user, until there is one for another.
struct Run<'a> {
    notifier: &'a dyn Notifier,
    user: UserId,
    notices: Vec<Notice>,
}

impl<'a> Telling<'a> {
    /// For so many messages at the most.
    pub(super) fn new(connection: &'a ConnectionState, is_only: bool, most: usize) -> Self {
        let notifier = &*connection.shared.notifier;
        Self {
            connection,
            is_only,
            copies: Run::new(notifier, 0),
            stored: Run::new(notifier, most),
        }
    }

    /// Tells the recipient of a message, and the sender's other connections if they are to have a copy.
    pub(super) fn stored(&mut self, new: &NewMessage, to: UserNumber, seq: u64, are_copied: bool) {
        let shared = &*self.connection.shared;
        let message = &new.message;
        if let (true, false, Some(from)) = (are_copied, self.is_only, new.sender) {
            let copy = Notice::Copy {
                from,
                origin: self.connection.id,
                message: message.clone(),
            };
            self.copies.add(&message.from, copy);
        }
        let stored = Notice::Inbox {
            to,
            seq,
            accepted: new.now,
            message: Some(message.clone()),
        };
        self.stored.add(&message.to, stored);
        if let Some(offline) = &shared.offline
            && !shared.online.has(to)
            && !offline.send(EvMessage::new(Some(seq), message.clone()))
        {
            shared.meters.offline_messages.increment(1);
        }
    }
}

impl<'a> Run<'a> {
    fn new(notifier: &'a dyn Notifier, most: usize) -> Self {
        Self {
            notifier,
            user: UserId::default(),
            notices: Vec::with_capacity(most),
        }
    }

    fn add(&mut self, user: &UserId, notice: Notice) {
        if self.user != *user {
            self.end();
            self.user = user.clone();
        }
        self.notices.push(notice);
    }

    fn end(&mut self) {
        if !self.notices.is_empty() {
            let notices = std::mem::take(&mut self.notices);
            self.notifier.notify_all(&self.user, notices);
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
