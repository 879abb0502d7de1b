//! Telling connections that something waits for their user, as a trait.

mod bytes;
mod local;
mod mailbox;

pub use local::LocalNotifier;
pub use mailbox::{Mail, Mailbox};

use crate::clock::Timestamp;
use crate::storage::{SessionKey, UserNumber};
use messenger_proto::{SharedMessage, UserId};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Carries notices to the connections of a user.
///
/// It is only a hint: a notice that is lost, late, doubled or out of order delays a message and
/// never loses or reorders one, because a connection reads from the store whatever it was not told of.
/// (A sender's [copy](Notice::Copy) is not stored; losing its notice loses the copy.)
///
/// One across nodes sends notices as [bytes](Notice::encode).
///
/// Every implementation passes [`testing::notifier`](crate::testing::notifier).
///
/// # Examples
/// ```
/// use messenger_core::Engine;
/// use messenger_core::notifier::{LocalNotifier, Mailbox, Notice, Notifier, Subscription};
/// use messenger_core::proto::UserId;
/// use std::sync::Arc;
/// use tokio::sync::mpsc::{Sender, channel};
///
/// /// Tells the connections of this process, and another process who was deleted.
/// struct Relay {
///     local: LocalNotifier,
///     deleted: Sender<UserId>,
/// }
///
/// impl Notifier for Relay {
///     fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
///         self.local.subscribe(user, mailbox)
///     }
///
///     fn notify(&self, user: &UserId, notice: Notice) {
///         if let Notice::UserDeleted = notice {
///             // Dropped when there is no room: it is only a hint.
///             let _ = self.deleted.try_send(user.clone());
///         }
///         self.local.notify(user, notice);
///     }
/// }
///
/// let (deleted, mut other_process) = channel(100);
/// let relay = Relay { local: LocalNotifier::new(), deleted };
/// relay.notify(&"ann".into(), Notice::UserDeleted);
/// assert_eq!(other_process.try_recv()?, "ann".into());
///
/// let engine = Engine::builder().notifier(Arc::new(relay)).manual_maintenance().build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Notifier: Send + Sync + 'static {
    /// Delivers what [`notify`](Self::notify) tells of `user` into `mailbox`, until the
    /// subscription is dropped.
    ///
    /// It does not wait. When delivery begins only later, or has had a gap, the notifier calls
    /// [`Mailbox::resync`] as soon as it works.
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription;

    /// Tells every mailbox of `user`. It does not wait, and drops the notice rather than queue
    /// without bound.
    fn notify(&self, user: &UserId, notice: Notice);

    /// Tells every mailbox of `user` all of these, in their order, as [`notify`](Self::notify) does one after the other.
    ///
    /// A notifier that finds the mailboxes once for all of them is quicker.
    fn notify_all(&self, user: &UserId, notices: Vec<Notice>) {
        for notice in notices {
            self.notify(user, notice);
        }
    }

    /// How often so far notices were lost without knowing whose they were, as when the connection to other servers was
    /// gone for a while. The engine asks twice a second. When the number has changed, it has all connections resync,
    /// spread over some seconds; so the notifier need not call [`Mailbox::resync`] for each of them.
    fn gaps(&self) -> u64 {
        0
    }

    /// Whether it works; the engine is [asked](crate::Engine::health) by whoever looks after it. It does not wait.
    ///
    /// # Errors
    /// Notices do not reach other servers at present.
    fn check(&self) -> Result<(), NotifierError> {
        Ok(())
    }
}

/// The notifier does not work at present: messages come late.
#[derive(Debug, thiserror::Error)]
#[error("the notifier fails")]
pub struct NotifierError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl NotifierError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// What the connections of a user are told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A message stands in the user's inbox.
    Inbox {
        /// Whose inbox: a later user of the same id is not told.
        to: UserNumber,
        /// Its sequence number.
        seq: u64,
        /// When it was accepted, for measuring how long it takes.
        accepted: Timestamp,
        /// The message, unless it was too large to carry along.
        message: Option<SharedMessage>,
    },
    /// The user has sent a message through another of its connections.
    Copy {
        /// Who has sent it: a later user of the same id is not told.
        from: UserNumber,
        /// The connection that sent it and has its copy already.
        origin: ConnectionId,
        /// The message.
        message: SharedMessage,
    },
    /// A session of the user has ended.
    SessionEnded(SessionKey),
    /// The user was deleted: all sessions have ended, also those that the store had forgotten.
    UserDeleted,
    /// The store may have more than was told.
    Resync,
}

/// Names a connection among those of all nodes that share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ConnectionId {
    /// A random number that an engine draws when it starts.
    pub engine: u64,
    /// Counts the connections of one engine.
    pub number: u64,
}

impl ConnectionId {
    /// This connection of this engine.
    pub const fn new(engine: u64, number: u64) -> Self {
        Self { engine, number }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// Keeps a mailbox subscribed until it is dropped.
#[must_use]
pub struct Subscription {
    _guard: Box<dyn Any + Send + Sync>,
    /// How many there are for the user, if that is known.
    count: Option<Arc<AtomicUsize>>,
}

impl Subscription {
    /// A subscription that ends when `guard` is dropped.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self {
            _guard: Box::new(guard),
            count: None,
        }
    }

    /// The same, from a notifier that keeps count of the user's subscriptions, this one included, wherever
    /// they are: a sender who has no other is not told of its own messages.
    pub fn counted(guard: impl Any + Send + Sync, count: Arc<AtomicUsize>) -> Self {
        Self {
            count: Some(count),
            ..Self::new(guard)
        }
    }

    /// True when it is known that the user has no other.
    pub fn is_only(&self) -> bool {
        let count = self.count.as_ref();
        count.is_some_and(|count| count.load(Ordering::SeqCst) == 1)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
