//! How a session stands, and what can go wrong with it.

use crate::{ClientError, ConnectionError, EventsEnded, SessionEnd};
use messenger_proto::Failure;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// How a session stands with its server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// A connection is being made, or the session being resumed on it.
    Connecting,
    /// Requests are carried out and messages come.
    Online,
    /// There is no connection; another is tried.
    Offline {
        /// Why there is none.
        why: Interruption,
        /// When the next is tried.
        until: Instant,
    },
    /// There will be no more.
    Ended {
        /// Why.
        why: SessionEnd,
    },
}

/// Why there is no connection for now.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Interruption {
    /// It could not be made.
    #[error("no connection could be made")]
    NotConnected(#[source] Arc<ConnectionError>),
    /// It has ended.
    #[error(transparent)]
    Ended(#[from] EventsEnded),
    /// Nothing came over it any more.
    #[error("the server is silent")]
    Silent,
    /// The server asks to try later.
    #[error("the server does not let us in for now")]
    Refused(#[source] Failure),
    /// The server has ended the session; another is begun.
    #[error("the session was ended")]
    SessionEnded,
}

/// A message that was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// As many messages wait as may.
    #[error("more than {messages} messages or {bytes} bytes wait to be sent")]
    OutboxFull {
        /// How many may wait.
        messages: usize,
        /// How many bytes they may have.
        bytes: usize,
    },
    /// No server takes a message this long.
    #[error("the message has more than {limit} bytes")]
    TooLong {
        /// How many bytes it may have, as a frame.
        limit: usize,
    },
    /// It could not be kept, so it is not sent.
    #[error("the message cannot be kept until it is sent")]
    Store(#[source] Arc<io::Error>),
    /// The server refused it: it will not be sent.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The session has ended. A message that was in the outbox is still there, for a session that goes on with the same store.
    #[error("the session has ended")]
    Ended(#[source] SessionEnd),
}

/// The states of a session as they come, for whoever shows them. Of several between two looks only the newest is seen.
#[derive(Clone, Debug)]
pub struct States(pub(crate) watch::Receiver<ConnectionState>);

impl States {
    /// How the session stands now.
    pub fn now(&self) -> ConnectionState {
        self.0.borrow().clone()
    }

    /// Waits for another state than the last one seen here; the first call gives the state at once. `None` behind
    /// [`ConnectionState::Ended`].
    ///
    /// # Cancel safety
    /// No state is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<ConnectionState> {
        if !self.0.has_changed().unwrap_or(true)
            && matches!(*self.0.borrow(), ConnectionState::Ended { .. })
        {
            return None;
        }
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Tries again.
    Interrupted(Interruption),
    /// Ends.
    Ended(SessionEnd),
}

impl From<Interruption> for Stop {
    fn from(why: Interruption) -> Self {
        Self::Interrupted(why)
    }
}

impl From<SessionEnd> for Stop {
    fn from(why: SessionEnd) -> Self {
        Self::Ended(why)
    }
}

impl From<ConnectionError> for Stop {
    fn from(error: ConnectionError) -> Self {
        Self::Interrupted(Interruption::NotConnected(Arc::new(error)))
    }
}

/// What a log-in that failed means.
impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(failure) if is_passing(&failure) => {
                Interruption::Refused(failure).into()
            }
            ClientError::Refused(failure) => SessionEnd::Refused(failure).into(),
            _ => Interruption::Ended(EventsEnded::Closed).into(),
        }
    }
}

/// Whether the same request may succeed later.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    use messenger_proto::ErrorCode::{TooManyRequests, Unavailable};
    matches!(failure.code, TooManyRequests | Unavailable)
}
