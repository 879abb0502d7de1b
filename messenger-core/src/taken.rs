//! Requests that a connection was handed and that are not begun yet.

use crate::clock::Timestamp;
use crate::connection_state::Login;
use crate::reply::Reply;
use crate::storage::NewMessage;
use messenger_proto::{BadRequest, Inbound};
use std::collections::VecDeque;
use std::sync::Arc;

/// One of them.
pub(crate) enum Taken {
    /// It came before it was known whose it is, and may be a message.
    Early(Inbound),
    /// It is carried out with nothing beside it.
    Alone(Inbound),
    /// A message of an authenticated client, ready for the store.
    Message(NewMessage),
    /// A frame that is no request.
    Bad(BadRequest),
    /// What is answered already, behind those before it.
    Answered(Reply),
}

impl Taken {
    pub(crate) fn message(&self) -> Option<&NewMessage> {
        match self {
            Self::Message(new) => Some(new),
            Self::Early(_) | Self::Alone(_) | Self::Bad(_) | Self::Answered(_) => None,
        }
    }
}

/// What the messages that are handed over together have in common.
pub(crate) struct Moment {
    pub(crate) login: Arc<Login>,
    pub(crate) now: Timestamp,
}

/// How many are made room for at once.
const ROOM: usize = 16;

/// In their order, each with the length of its frame.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<(Taken, usize)>,
    /// The bytes of their frames.
    bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn front(&self) -> Option<&Taken> {
        self.waiting.front().map(|(taken, _)| taken)
    }

    pub(crate) fn back(&self) -> Option<&Taken> {
        self.waiting.back().map(|(taken, _)| taken)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, taken: Taken, length: usize) {
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(ROOM);
        }
        self.bytes += length;
        self.waiting.push_back((taken, length));
    }

    /// What is ready at the front: messages, and what was answered among them.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Taken> {
        let all = self.waiting.iter().map(|(taken, _)| taken);
        all.take_while(|taken| matches!(taken, Taken::Message(_) | Taken::Answered(_)))
    }

    pub(crate) fn pop_front(&mut self) -> Option<(Taken, usize)> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.1;
        Some(first)
    }

    /// Gives back memory when the connection falls idle.
    pub(crate) fn release_buffers(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }
}
