//! One user's inbox: numbered messages, the oldest leaving first.

use crate::policy::InboxLimits;
use crate::storage::{AppendError, PageLimits};
use messenger_proto::Message;
use std::collections::VecDeque;
use std::sync::Arc;

/// An empty inbox keeps room for this many messages at the most.
const KEPT: usize = 4;

/// What a message takes beside its text, in bytes.
const OVERHEAD: u64 = 1024;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// What is kept; the last one has the place `newest`.
    messages: VecDeque<Arc<Message>>,
    /// The place of the newest message there ever was.
    newest: u64,
    /// The newest place that any session was given.
    delivered_up_to: u64,
    /// The bytes of what is kept.
    bytes: u64,
    /// The bytes of what no session was given.
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

    pub(super) fn append(
        &mut self,
        message: Arc<Message>,
        limits: InboxLimits,
    ) -> Result<u64, AppendError> {
        let size = size(&message);
        let waiting = self.newest - self.delivered_up_to.max(self.dropped());
        if waiting >= limits.messages || self.waiting_bytes + size > limits.bytes {
            return Err(AppendError::InboxFull);
        }
        self.messages.push_back(message);
        self.newest += 1;
        self.bytes += size;
        self.waiting_bytes += size;
        while self.messages.len() as u64 > limits.messages || self.bytes > limits.bytes {
            self.drop_oldest();
        }
        Ok(self.newest)
    }

    pub(super) fn read(&self, after: u64, page: PageLimits) -> Vec<(u64, Message)> {
        let first = self.dropped() + 1;
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (seq, message) in (first..).zip(&self.messages).skip(skip) {
            if found.len() >= page.messages || bytes >= page.bytes {
                break;
            }
            bytes += message.size();
            found.push((seq, (**message).clone()));
        }
        found
    }

    /// A session was given everything up to this place.
    pub(super) fn advance(&mut self, delivered_up_to: u64) {
        while self.delivered_up_to < delivered_up_to {
            self.delivered_up_to += 1;
            if let Some(message) = self.get(self.delivered_up_to) {
                self.waiting_bytes -= size(message);
            }
        }
    }

    /// Every session was given everything up to this place.
    pub(super) fn prune(&mut self, delivered_up_to: u64) {
        while self.dropped() < delivered_up_to && !self.messages.is_empty() {
            self.drop_oldest();
        }
        if self.messages.is_empty() && self.messages.capacity() > KEPT {
            // A user who was once written to a lot should not hold the memory for ever.
            self.messages = VecDeque::new();
        }
    }

    /// Drops what was accepted before this second.
    pub(super) fn drop_older(&mut self, before: u64) {
        while self
            .messages
            .front()
            .is_some_and(|message| message.time < before)
        {
            self.drop_oldest();
        }
    }

    /// How many messages there were before the first that is kept.
    fn dropped(&self) -> u64 {
        self.newest - self.messages.len() as u64
    }

    fn get(&self, seq: u64) -> Option<&Message> {
        let index = seq.checked_sub(self.dropped() + 1)?;
        self.messages
            .get(usize::try_from(index).ok()?)
            .map(|message| &**message)
    }

    fn drop_oldest(&mut self) {
        let seq = self.dropped() + 1;
        if let Some(message) = self.messages.pop_front() {
            let size = size(&message);
            self.bytes -= size;
            if seq > self.delivered_up_to {
                self.waiting_bytes -= size;
            }
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
