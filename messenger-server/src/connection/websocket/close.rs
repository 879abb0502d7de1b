//! Why a connection is closed.

/// Why a connection is closed. Over WebSocket it becomes a close code with a sentence; over TCP nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The client has ended it.
    Done,
    /// The server stops.
    Stopping,
    /// It is no WebSocket.
    Protocol,
    /// A binary message.
    Binary,
    /// A message that is not one JSON object.
    Invalid,
    TooLong,
    /// Others needed the room.
    TryLater,
    /// The session has ended, or the client wants to be another user.
    Session,
    /// The client has not authenticated in time.
    AuthTimeout,
}

impl Close {
    /// The close code, and a sentence of at most 123 bytes.
    pub(crate) fn told(self) -> (u16, &'static str) {
        match self {
            Self::Done => (1000, ""),
            Self::Stopping => (1001, "the server stops; connect again"),
            Self::Protocol => (1002, "this is not WebSocket as RFC 6455 has it"),
            Self::Binary => (1003, "messages are text, not binary"),
            Self::Invalid => (1007, "a message is one JSON object"),
            Self::TooLong => (1009, "the message is too long"),
            Self::TryLater => (1013, "there is no room for a message that stands still"),
            Self::Session => (4401, "the session has ended; connect and log in again"),
            Self::AuthTimeout => (4408, "nobody has logged in in time"),
        }
    }
}
