//! What can go wrong.

use messenger_proto::{CodecError, Failure};
use std::io;
use std::sync::Arc;

/// A request that brought no success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused it.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The connection has ended; whether the request was carried out is not known. Sending a message
    /// again with the same `mid` is safe.
    #[error("the connection has ended")]
    Closed,
    /// As many requests wait for their answers as may; this one was not sent.
    #[error("more than {limit} requests wait for their answers")]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
    /// A session has no connection now; nothing was sent.
    #[error("there is no connection to the server")]
    Offline,
    /// A session has ended; nothing was sent.
    #[error("the session has ended")]
    Ended(#[source] SessionEnd),
    /// No answer came in time; whether the request was carried out is not known.
    #[error("the server has not answered in time")]
    TimedOut,
    /// The server answered something else.
    #[error("the server answered another request than the one it was sent")]
    OutOfStep,
}

/// Why a connection could not be made, or has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The server sent what no server sends.
    #[error("the server's frames cannot be read")]
    Codec(#[from] CodecError),
    /// The first frame was no welcome.
    #[error("what answers there is no messenger server")]
    NotAMessenger,
    /// Events were not taken, and there is no more room for them.
    #[error("more than {limit} bytes of events wait to be taken")]
    Overrun {
        /// The room there is, in bytes.
        limit: usize,
    },
}

/// Why there are no more events.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsEnded {
    /// The server closed the connection in good order.
    #[error("the server has closed the connection")]
    Closed,
    /// The last [`Client`](crate::Client) of the connection was dropped.
    #[error("nobody holds the connection's client any more")]
    ClientDropped,
    /// The connection failed, or what came over it could not be taken.
    #[error(transparent)]
    Failed(Arc<ConnectionError>),
}

/// Why a session has come to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// The server refuses to begin another: the password has changed (2), or there is no such login any more (7).
    #[error("the server does not let us in")]
    Refused(#[source] Failure),
    /// The server has ended it, and there is no password to begin another with.
    #[error("the session was ended")]
    SessionEnded,
    /// It was [logged out](crate::Session::log_out).
    #[error("the session was logged out")]
    LoggedOut,
    /// The application has dropped or closed it. It can be gone on with.
    #[error("the session was closed")]
    Closed,
    /// What must not be forgotten cannot be kept, so going on would show or send something twice.
    #[error("the session's state cannot be kept")]
    Store(#[source] Arc<io::Error>),
}

impl From<ConnectionError> for EventsEnded {
    fn from(error: ConnectionError) -> Self {
        Self::Failed(Arc::new(error))
    }
}
