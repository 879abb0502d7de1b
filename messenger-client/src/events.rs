//! What comes unasked.

use crate::{ConnectionError, EventsEnded};
use messenger_proto::{EvMessage, UserId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// How many bytes of events may wait to be taken.
pub(crate) const LIMIT: usize = 64 * 1024 * 1024;

/// What an event costs beside its text, in bytes.
const OVERHEAD: usize = 512;

/// What the server sends unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message for this user, or the sender's own copy of one.
    Message(EvMessage),
}

/// What the server sends unasked, in order: messages, each once.
///
/// Dropping it throws events away. Events that are not taken wait in memory; when they come to 64 MiB the connection
/// ends, rather than have replies wait behind events for ever.
#[derive(Debug)]
pub struct Events {
    items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    /// Whose messages they are, as far as this connection was told.
    user: Option<UserId>,
    /// The sequence number of the last message taken.
    seen: u64,
    /// Why there are no more, as far as this side knows.
    ended: Option<EventsEnded>,
}

/// Puts events in; the other half of [`Events`].
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    items: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Item {
    Message(EvMessage),
    /// From here on they are this user's.
    User(UserId),
    /// Why there will be no more; the first of these counts.
    Ended(EventsEnded),
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
        ended: None,
    };
    (sink, events)
}

impl Events {
    /// The next event. A message that was taken before (it is sent again when an acknowledgement was
    /// lost) is dropped.
    ///
    /// # Errors
    /// There are no more, and [why](EventsEnded); every later call says the same.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Event, EventsEnded> {
        loop {
            let Some(item) = self.items.recv().await else {
                // Without a reason only the runtime has ended.
                return Err(self.ended.clone().unwrap_or(EventsEnded::Closed));
            };
            match item {
                Item::Message(event) => {
                    self.waiting.fetch_sub(size(&event), Ordering::Relaxed);
                    let Some(seq) = event.seq else {
                        return Ok(Event::Message(event));
                    };
                    if seq > self.seen {
                        self.seen = seq;
                        return Ok(Event::Message(event));
                    }
                }
                Item::User(user) => {
                    if self.user.as_ref().is_some_and(|before| *before != user) {
                        self.seen = 0;
                    }
                    self.user = Some(user);
                }
                Item::Ended(why) => {
                    self.ended.get_or_insert(why);
                }
            }
        }
    }

    /// The next message, for whoever wants no other events.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next_message(&mut self) -> Result<EvMessage, EventsEnded> {
        let Event::Message(message) = self.next().await?;
        Ok(message)
    }

    /// Drops messages up to this sequence number, because an earlier connection has processed them. To be
    /// called before the session is resumed, best by
    /// [`resume_and_ack`](crate::Client::resume_and_ack).
    pub fn skip_up_to(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
    }

    /// The sequence number of the last message taken; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.seen
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

    /// Says why there will be no more.
    pub(crate) fn end(&self, why: EventsEnded) {
        let _ = self.items.send(Item::Ended(why));
    }
}

fn size(event: &EvMessage) -> usize {
    event.message.size() + OVERHEAD
}
