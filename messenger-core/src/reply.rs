//! Answers to requests.

use messenger_proto::{Outbound, Response};
use std::fmt;
use std::pin::Pin;

/// The answer to a request, and what belongs right behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Reply {
    /// The answer.
    pub response: Response,
    /// What goes out right behind it: the sender's own copy of a message, or the `auth` reply that
    /// an older client waits for after `register`.
    pub follow: Option<Outbound>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self {
            response,
            follow: None,
        }
    }
}

/// A request under way.
pub type Running = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A `message` that was begun.
#[allow(clippy::large_enum_variant)] // most are answered at once
pub enum Started {
    /// It is carried out.
    Done(Reply),
    /// It waits for the store.
    Pending(Running),
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(reply) => f.debug_tuple("Done").field(reply).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
