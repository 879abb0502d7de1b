//! One user's inbox: numbered messages, the oldest leaving first.

use crate::policy::InboxLimits;
use crate::storage::{AppendError, Overflow, PageLimits};
use messenger_proto::{Message, SharedMessage};
use std::collections::VecDeque;

/// An empty inbox keeps room for this many messages at the most.
const KEPT: usize = 4;

/// What a message takes beside its text, in bytes.
const OVERHEAD: u64 = 1024;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// What is kept, with sequence numbers, which only grow: some between may be gone.
    messages: VecDeque<(u64, SharedMessage)>,
    /// The sequence number of the newest message there ever was.
    newest: u64,
    /// The highest watermark of any session, ended ones included.
    delivered_up_to: u64,
    /// The bytes of what is kept.
    bytes: u64,
    /// How many at the end are delivered to no session.
    waiting: usize,
    /// The bytes of those.
    waiting_bytes: u64,
}

impl Inbox {
    /// What is kept takes so many bytes.
    pub(super) fn held(&self) -> u64 {
        self.bytes + self.messages.len() as u64 * OVERHEAD
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn delivered_up_to(&self) -> u64 {
        self.delivered_up_to
    }

    /// The message's sequence number, and how many were dropped to make room for it.
    pub(super) fn append(
        &mut self,
        message: SharedMessage,
        limits: InboxLimits,
    ) -> Result<(u64, u64), AppendError> {
        let size = size(&message);
        let is_full = self.waiting as u64 >= limits.messages;
        if is_full || self.waiting_bytes + size > limits.bytes {
            return Err(AppendError::InboxFull);
        }
        self.newest += 1;
        self.messages.push_back((self.newest, message));
        self.bytes += size;
        self.waiting += 1;
        self.waiting_bytes += size;
        let too_many = (self.messages.len() as u64).saturating_sub(limits.messages);
        let mut dropped = self.shed(too_many, |_| 1);
        dropped += self.shed(self.bytes.saturating_sub(limits.bytes), self::size);
        Ok((self.newest, dropped))
    }

    /// Drops as much of what is delivered to some session, if there is as much. How many messages.
    fn shed(&mut self, excess: u64, weight: fn(&Message) -> u64) -> u64 {
        if excess == 0 {
            return 0;
        }
        let given = self.messages.len() - self.waiting;
        let given = || self.messages.iter().take(given).map(|(_, message)| message);
        let weights = given().map(|message| (&message.from, weight(message)));
        let mut overflow = Overflow::new(weights, excess);
        let leaving = given().map(|message| overflow.takes(&&message.from, weight(message)));
        let mut leaving = leaving.collect::<Vec<_>>().into_iter();
        let (kept, bytes) = (self.messages.len(), &mut self.bytes);
        self.messages.retain(|(_, message)| {
            let leaves = leaving.next().unwrap_or(false);
            *bytes -= if leaves { size(message) } else { 0 };
            !leaves
        });
        (kept - self.messages.len()) as u64
    }

    pub(super) fn read(&self, after: u64, page: PageLimits) -> Vec<(u64, Message)> {
        let skip = self.messages.partition_point(|(seq, _)| *seq <= after);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (seq, message) in self.messages.range(skip..) {
            if found.len() >= page.messages || bytes >= page.bytes {
                break;
            }
            bytes += message.size();
            found.push((*seq, (**message).clone()));
        }
        found
    }

    /// Everything up to this sequence number is delivered to a session.
    pub(super) fn advance(&mut self, delivered_up_to: u64) {
        self.delivered_up_to = self.delivered_up_to.max(delivered_up_to);
        let waiting = self.messages.len() - self.waiting;
        for (seq, message) in self.messages.range(waiting..) {
            if *seq > self.delivered_up_to {
                break;
            }
            self.waiting -= 1;
            self.waiting_bytes -= size(message);
        }
    }

    /// Everything up to this sequence number is delivered to every session.
    pub(super) fn prune(&mut self, delivered_up_to: u64) {
        self.drop_while(|seq, _| seq <= delivered_up_to);
        if self.messages.is_empty() && self.messages.capacity() > KEPT {
            // A user who was once written to a lot should not hold the memory for ever.
            self.messages = VecDeque::new();
        }
    }

    /// Drops what was accepted before this second.
    pub(super) fn drop_older(&mut self, before: u64) {
        self.drop_while(|_, message| message.time < before);
    }

    fn drop_while(&mut self, is_over: impl Fn(u64, &Message) -> bool) {
        while let Some((seq, message)) = self.messages.front()
            && is_over(*seq, message)
        {
            let size = size(message);
            self.bytes -= size;
            if self.waiting == self.messages.len() {
                self.waiting -= 1;
                self.waiting_bytes -= size;
            }
            self.messages.pop_front();
        }
    }
}

/// What a message takes, in bytes.
pub(super) fn held_by(message: &Message) -> u64 {
    size(message) + OVERHEAD
}

fn size(message: &Message) -> u64 {
    message.size() as u64
}
