//! The senders' own ids for their messages.

use crate::clock::Timestamp;
use bytestring::ByteString;
use messenger_proto::{Message, MessageId, UserId};
use std::collections::{HashMap, VecDeque};

/// The most `mid`s kept for one sender; the oldest is forgotten first.
const KEPT: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Mids {
    senders: HashMap<UserId, SenderMids>,
}

#[derive(Debug, Default)]
pub(super) struct SenderMids {
    sent: HashMap<ByteString, Sent>,
    oldest_first: VecDeque<(Timestamp, ByteString)>,
}

#[derive(Debug)]
struct Sent {
    at: Timestamp,
    id: MessageId,
    time: u64,
}

impl Mids {
    pub(super) fn of(&mut self, sender: &UserId) -> &mut SenderMids {
        self.senders.entry(sender.clone()).or_default()
    }

    pub(super) fn drop_sender(&mut self, sender: &UserId) {
        self.senders.remove(sender);
    }

    pub(super) fn forget(&mut self, before: Timestamp) {
        self.senders.retain(|_, mids| {
            mids.forget(before);
            !mids.sent.is_empty()
        });
    }
}

impl SenderMids {
    pub(super) fn all(&self) -> Vec<ByteString> {
        self.sent.keys().cloned().collect()
    }

    pub(super) fn find(&self, mid: &str, before: Timestamp) -> Option<(MessageId, u64)> {
        let sent = self.sent.get(mid).filter(|sent| sent.at >= before)?;
        Some((sent.id.clone(), sent.time))
    }

    pub(super) fn insert(&mut self, mid: ByteString, at: Timestamp, message: &Message) {
        let sent = Sent {
            at,
            id: message.id.clone(),
            time: message.time,
        };
        self.oldest_first.push_back((at, mid.clone()));
        self.sent.insert(mid, sent);
        if self.oldest_first.len() > KEPT {
            self.forget_oldest();
        }
    }

    fn forget(&mut self, before: Timestamp) {
        while self
            .oldest_first
            .front()
            .is_some_and(|(at, _)| *at < before)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((at, mid)) = self.oldest_first.pop_front()
            // It may have been used again since it was forgotten.
            && self.sent.get(&mid).is_some_and(|sent| sent.at == at)
        {
            self.sent.remove(&mid);
        }
    }
}
