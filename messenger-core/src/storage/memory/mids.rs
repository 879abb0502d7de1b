//! The senders' own ids for their messages.

use crate::clock::Timestamp;
use bytestring::ByteString;
use dashmap::DashMap;
use messenger_proto::{Message, MessageId, UserId};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The most `mid`s kept for one sender; the oldest is forgotten first.
const KEPT: usize = 100_000;

/// Each sender's under a lock of its own, which is held while a message is appended: whoever sends waits for
/// nobody else.
#[derive(Debug, Default)]
pub(super) struct Mids {
    senders: DashMap<UserId, Arc<Mutex<SenderMids>>>,
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
    pub(super) fn of(&self, sender: &UserId) -> Arc<Mutex<SenderMids>> {
        if let Some(mids) = self.senders.get(sender) {
            return Arc::clone(&mids);
        }
        Arc::clone(&self.senders.entry(sender.clone()).or_default())
    }

    pub(super) fn all(&self, sender: &UserId) -> Vec<ByteString> {
        let mids = self.senders.get(sender).map(|mids| Arc::clone(&mids));
        mids.map_or(Vec::new(), |mids| mids.lock().all())
    }

    pub(super) fn drop_sender(&self, sender: &UserId) {
        self.senders.remove(sender);
    }

    pub(super) fn forget(&self, before: Timestamp) {
        self.senders.retain(|_, mids| {
            // Somebody else who has them is about to add one.
            let in_use = Arc::strong_count(mids) > 1;
            let mut mids = mids.lock();
            mids.forget(before);
            in_use || !mids.sent.is_empty()
        });
    }
}

impl SenderMids {
    fn all(&self) -> Vec<ByteString> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::InboxLimits;
    use crate::storage::{Appended, MemoryStorage, NewMessage, Storage};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn from(sender: &str) -> NewMessage {
        let message = Message::new("", sender, "ann", 0);
        NewMessage {
            message: message.into(),
            mid: Some("mid".into()),
            mid_forgotten_before: Timestamp::default(),
            now: Timestamp::default(),
            limits: InboxLimits::default(),
        }
    }

    #[tokio::test]
    async fn a_sender_waits_for_no_other() {
        let storage = MemoryStorage::new();
        storage.adopt_user(&"ann".into(), "ann").await.unwrap();
        let of_ann = storage.mids.of(&"ann".into());
        let _under_way = of_ann.lock();
        let (done, appended) = channel();
        std::thread::spawn(move || done.send(storage.append_once(&from("bob"))));
        let appended = appended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(appended.unwrap(), Appended::Stored { seq: 1 });
    }

    #[test]
    fn what_is_being_added_is_not_forgotten_with_the_rest() {
        let (mids, new) = (Mids::default(), from("ann"));
        let of_ann = mids.of(&"ann".into());
        mids.forget(Timestamp::from_micros(1));
        let now = Timestamp::from_micros(1);
        of_ann.lock().insert("mid".into(), now, &new.message);
        drop(of_ann);
        assert_eq!(mids.all(&"ann".into()), ["mid"]);
        mids.forget(Timestamp::from_micros(2));
        assert_eq!(mids.senders.len(), 0);
    }
}
