//! What a connection is given unasked.

use crate::clock::Timestamp;
use messenger_proto::EvMessage;

/// What a connection is given unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message for its user, or the sender's own copy of one.
    Message(EvMessage),
}

impl From<Event> for messenger_proto::Event {
    fn from(event: Event) -> Self {
        match event {
            Event::Message(message) => Self::Message(message),
        }
    }
}

/// An event for a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// To be given back once the event [is delivered](crate::Connection::delivered); `None` for the sender's
    /// own copy.
    pub token: Option<DeliveryToken>,
}

/// Names a message of the inbox whose owner the connection was authenticated as when it got the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryToken {
    /// The number of the login it was for.
    pub(crate) login: u64,
    /// Its sequence number in the inbox.
    pub(crate) seq: u64,
    /// The message's size.
    pub(crate) bytes: usize,
    /// When the message was accepted, if it came live.
    pub(crate) accepted: Option<Timestamp>,
}

/// Why there are no more events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsEnded {
    /// Nobody has authenticated on the connection, or they have logged out.
    #[error("the connection is not authenticated")]
    Unauthenticated,
    /// The session was ended: pushed out by newer ones, ended by an operator, or its user was deleted or
    /// given another password.
    #[error("the session has ended")]
    SessionEnded,
    /// The connection was not asked for events for so long that copies of its user's own messages, which
    /// are kept nowhere, are lost. It should be dropped.
    #[error("copies of the user's own messages were missed")]
    MissedCopies,
}
