//! The messages that come.

use crate::ConnectionError;
use messenger_proto::{EvMessage, UserId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// How many bytes of events may wait to be taken.
pub(crate) const LIMIT: usize = 64 * 1024 * 1024;

/// What an event costs beside its text, in bytes.
const OVERHEAD: usize = 512;

/// The messages that come, in order, each once.
///
/// Dropping it throws events away. Not taking them is bounded: when they come to 64 MiB the
/// connection ends, rather than replies wait behind events for ever.
#[derive(Debug)]
pub struct Events {
    items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    /// Whose messages they are, as far as this connection was told.
    user: Option<UserId>,
    /// The last place taken.
    seen: u64,
    error: Option<ConnectionError>,
}

/// Puts events in; the other half of [`Events`].
#[derive(Debug)]
pub(crate) struct Sink {
    items: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Item {
    Message(EvMessage),
    /// From here on they are this user's.
    User(UserId),
    /// The connection has ended in disorder.
    Error(ConnectionError),
}

pub(crate) fn channel() -> (Sink, Events) {
    let (sender, items) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let sink = Sink {
        items: sender,
        waiting: Arc::clone(&waiting),
    };
    let events = Events {
        items,
        waiting,
        user: None,
        seen: 0,
        error: None,
    };
    (sink, events)
}

impl Events {
    /// The next message; `None` when the connection has ended. A message that was taken before (it is
    /// sent again when an acknowledgement was lost) is dropped.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<EvMessage> {
        loop {
            match self.items.recv().await? {
                Item::Message(event) => {
                    self.waiting.fetch_sub(size(&event), Ordering::Relaxed);
                    let Some(seq) = event.seq else {
                        return Some(event);
                    };
                    if seq > self.seen {
                        self.seen = seq;
                        return Some(event);
                    }
                }
                Item::User(user) => {
                    if self.user.as_ref().is_some_and(|before| *before != user) {
                        self.seen = 0;
                    }
                    self.user = Some(user);
                }
                Item::Error(error) => self.error = Some(error),
            }
        }
    }

    /// Drops messages up to this place, because an earlier connection has processed them. To be
    /// called before the session is resumed, best by
    /// [`resume_and_ack`](crate::Client::resume_and_ack).
    pub fn skip_up_to(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
    }

    /// The place of the last message taken; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.seen
    }

    /// Why the connection has ended, once [`next`](Self::next) has given `None`; `None` when it ended
    /// in good order.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.error.as_ref()
    }
}

impl Sink {
    /// Puts a message in.
    pub(crate) fn message(&self, event: EvMessage) -> Result<(), ConnectionError> {
        let size = size(&event);
        if self.items.is_closed() {
            return Ok(());
        }
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > LIMIT {
            return Err(ConnectionError::Overrun { limit: LIMIT });
        }
        // Nobody takes events any more: they are thrown away.
        let _ = self.items.send(Item::Message(event));
        Ok(())
    }

    pub(crate) fn user(&self, user: UserId) {
        let _ = self.items.send(Item::User(user));
    }

    pub(crate) fn error(&self, error: ConnectionError) {
        let _ = self.items.send(Item::Error(error));
    }
}

fn size(event: &EvMessage) -> usize {
    event.message.size() + OVERHEAD
}
