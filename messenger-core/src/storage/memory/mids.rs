//! The senders' own ids for their messages.

use crate::clock::Timestamp;
use crate::storage::{AppendError, Appended, NewMessage};
use bytestring::ByteString;
use dashmap::DashMap;
use messenger_proto::{MessageId, UserId};
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
    sent: HashMap<Key, Sent>,
    oldest_first: VecDeque<(Timestamp, Key)>,
}

/// A recipient, and the sender's own id for something sent to them.
type Key = (UserId, ByteString);

#[derive(Debug)]
struct Sent {
    at: Timestamp,
    digest: [u8; 32],
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

    /// Forgets what a user has sent, and what was sent to them.
    pub(super) fn drop_user(&self, user: &UserId) {
        self.senders.remove(user);
        for mids in &self.senders {
            mids.lock().sent.retain(|(to, _), _| to != user);
        }
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
    /// Has the message appended, unless it was sent before under this `mid`.
    pub(super) fn append_once(
        &mut self,
        new: &NewMessage,
        mid: &ByteString,
        digest: [u8; 32],
        append: impl FnOnce() -> Result<Appended, AppendError>,
    ) -> Result<Appended, AppendError> {
        let key = (new.message.to.clone(), mid.clone());
        if let Some(first) = self.sent.get(&key)
            && first.at >= new.mid_forgotten_before
        {
            if first.digest != digest {
                return Err(AppendError::MidReused);
            }
            let (id, time) = (first.id.clone(), first.time);
            return Ok(Appended::Duplicate { id, time });
        }
        let appended = append()?;
        let (at, time) = (new.now, new.message.time);
        let id = new.message.id.clone();
        self.oldest_first.push_back((at, key.clone()));
        self.sent.insert(
            key,
            Sent {
                at,
                digest,
                id,
                time,
            },
        );
        if self.oldest_first.len() > KEPT {
            self.forget_oldest();
        }
        Ok(appended)
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
        if let Some((at, key)) = self.oldest_first.pop_front()
            // It may have been used again since it was forgotten.
            && self.sent.get(&key).is_some_and(|sent| sent.at == at)
        {
            self.sent.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, Storage, UserNumber};
    use messenger_proto::Message;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const STORED: Appended = Appended::Stored {
        seq: 1,
        recipient: UserNumber(1),
        dropped: 0,
    };

    fn from(sender: &str) -> NewMessage {
        let message = Message::new("", sender, "ann", 0);
        NewMessage::new(message, Timestamp::default()).mid("mid")
    }

    #[tokio::test]
    async fn a_sender_waits_for_no_other() {
        let storage = MemoryStorage::new();
        storage
            .upsert_external_user(&"ann".into(), "ann")
            .await
            .unwrap();
        let of_ann = storage.mids.of(&"ann".into());
        let _under_way = of_ann.lock();
        let (done, appended) = channel();
        std::thread::spawn(move || done.send(storage.append_all(&[&from("bob")])));
        let appended = appended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(appended[..], [Ok(STORED)]));
    }

    #[test]
    fn what_is_being_added_is_not_forgotten_with_the_rest() {
        let (mids, new) = (Mids::default(), from("ann"));
        let of_ann = mids.of(&"ann".into());
        mids.forget(Timestamp::from_micros(1));
        let send = || {
            of_ann
                .lock()
                .append_once(&new, &"mid".into(), [0; 32], || Ok(STORED))
        };
        assert_eq!(send().unwrap(), STORED);
        let again = mids.of(&"ann".into());
        assert!(Arc::ptr_eq(&again, &of_ann), "and is found again");
        drop((again, of_ann));
        mids.forget(Timestamp::from_micros(2));
        assert_eq!(mids.senders.len(), 0);
    }

    #[test]
    fn the_oldest_are_forgotten_over_the_limit() {
        let (mut mids, new) = (SenderMids::default(), from("ann"));
        let mut send = |mid: usize| {
            let mid = mid.to_string().into();
            mids.append_once(&new, &mid, [0; 32], || Ok(STORED))
                .unwrap()
        };
        for mid in 0..=KEPT {
            send(mid);
        }
        assert!(matches!(send(KEPT), Appended::Duplicate { .. }));
        assert!(matches!(send(1), Appended::Duplicate { .. }));
        assert!(matches!(send(0), Appended::Stored { .. }), "forgotten");
    }
}
