//! Messages for users who are offline, as they are stored: for whoever wakes their devices.

use messenger_proto::EvMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a waiting message costs beside its text, in bytes.
const OVERHEAD: usize = 256;

/// A queue between an engine and whoever sends push notifications. It holds messages of `bytes` in all, or a single
/// larger one.
///
/// The engine that is [given](crate::Builder::offline) the sender puts in each message that it stores for a user who is
/// offline: who has no authenticated connection to this engine, of whatever session, at that moment.
///
/// - It is a hint, given once for a message and never waited for. A message that does not fit is dropped, and counted as
///   `messenger_limits_total{limit="offline_messages"}`. One of which the store has not said that it has it is not told
///   of. Whatever becomes of the hint, the message waits in the inbox.
/// - A connection counts until its end is known: a phone that has lost its network is online for a while.
/// - With several engines on one store the one that has stored the message tells, of users who have no connection to
///   *it*; they may be connected to another one. Whoever must know waits a few seconds, and asks
///   [the store](crate::Engine::sessions) whether one of the user's sessions was given the message meanwhile.
///
/// ```
/// use messenger_core::proto::{Auth, Register, SendMessage};
/// use messenger_core::{Engine, offline};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, mut away) = offline::channel(1024 * 1024);
/// let engine = Engine::builder().offline(sender).build()?;
/// for login in ["ann", "bob"] {
///     engine.connect().call(Register::new(login, "secret", login)).await?;
/// }
/// let ann = engine.connect();
/// ann.call(Auth::new("ann", "secret")).await?;
/// ann.call(SendMessage::new("bob", "are you there?")).await?;
///
/// let told = away.next().await.expect("the engine lives");
/// assert_eq!((told.message.to.as_str(), told.seq), ("bob", Some(1)));
/// # Ok(())
/// # }
/// ```
pub fn channel(bytes: usize) -> (Sender, Receiver) {
    let (queue, messages) = unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let sender = Sender {
        messages: queue,
        held: Arc::clone(&held),
        most: bytes,
    };
    (sender, Receiver { messages, held })
}

/// The engine's end of a [`channel`].
#[derive(Debug)]
pub struct Sender {
    messages: UnboundedSender<EvMessage>,
    /// The bytes of the messages in the queue.
    held: Arc<AtomicUsize>,
    most: usize,
}

/// The end of a [`channel`] where messages come out.
#[derive(Debug)]
pub struct Receiver {
    messages: UnboundedReceiver<EvMessage>,
    held: Arc<AtomicUsize>,
}

impl Sender {
    /// Puts a message into the queue; false when it does not fit. Without a receiver it is forgotten.
    pub(crate) fn send(&self, message: EvMessage) -> bool {
        if self.messages.is_closed() {
            return true;
        }
        let size = size(&message);
        let fits = |held: usize| (held == 0 || held + size <= self.most).then_some(held + size);
        let order = Ordering::Relaxed;
        if self.held.fetch_update(order, order, fits).is_err() {
            return false;
        }
        let _ = self.messages.send(message);
        true
    }
}

impl Receiver {
    /// Waits for the next message, as its recipient is going to be given it. `None` when the engine and all its
    /// connections are gone.
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<EvMessage> {
        let message = self.messages.recv().await?;
        self.held.fetch_sub(size(&message), Ordering::Relaxed);
        Some(message)
    }
}

fn size(event: &EvMessage) -> usize {
    OVERHEAD + event.message.size()
}
