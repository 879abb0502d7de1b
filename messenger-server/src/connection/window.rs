//! Requests under way, answered in their order.

use messenger_core::{Reply, Running, Session};
use messenger_proto::Inbound;
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

/// Requests under way. `message` requests overlap; any other waits for those before it, and those
/// behind wait for it.
pub(super) struct Window {
    most: usize,
    most_bytes: usize,
    slots: VecDeque<(Slot, usize)>,
    /// The bytes of the frames under way.
    bytes: usize,
    /// Came behind requests that must be finished before it.
    waiting: Option<(Inbound, usize)>,
    /// What is under way must be finished before anything else begins.
    alone: bool,
}

enum Slot {
    Running(Running),
    Done(Option<Box<Reply>>),
}

impl Slot {
    /// The reply, once it is there; to be taken once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        match self {
            Self::Running(request) => request.as_mut().poll(cx),
            Self::Done(reply) => match reply.take() {
                Some(reply) => Poll::Ready(*reply),
                None => Poll::Pending,
            },
        }
    }
}

impl Window {
    /// A window of so many requests at the most, and none more once their frames have so many bytes.
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            most,
            most_bytes,
            slots: VecDeque::new(),
            bytes: 0,
            waiting: None,
            alone: false,
        }
    }

    /// True when another frame may be taken.
    pub(super) fn has_room(&self) -> bool {
        let is_open = self.waiting.is_none() && !self.alone;
        is_open && self.slots.len() < self.most && self.bytes < self.most_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.waiting.is_none()
    }

    /// Begins with a request that must be alone, once those before it are finished. The reply, if it is
    /// there already.
    pub(super) fn begin_alone(
        &mut self,
        session: &Session,
        inbound: Inbound,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        if self.slots.is_empty() {
            return self.start_alone(session, inbound, length, cx);
        }
        self.waiting = Some((inbound, length));
        None
    }

    /// Puts a reply behind those that are under way; gives it back when there are none.
    #[inline]
    pub(super) fn push(&mut self, reply: Reply, length: usize) -> Option<Reply> {
        if self.slots.is_empty() {
            return Some(reply);
        }
        self.put(Slot::Done(Some(Box::new(reply))), length);
        None
    }

    /// The next reply, in the order of the requests. Only the first request under way is polled on:
    /// each was polled once, so that the store has it in its queue.
    pub(super) fn poll(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<Reply> {
        if self.slots.is_empty()
            && let Some((inbound, length)) = self.waiting.take()
            && let Some(reply) = self.start_alone(session, inbound, length, cx)
        {
            return Poll::Ready(reply);
        }
        let Some((slot, _)) = self.slots.front_mut() else {
            return Poll::Pending;
        };
        let reply = ready!(slot.poll(cx));
        if let Some((_, length)) = self.slots.pop_front() {
            self.bytes -= length;
        }
        self.alone = false;
        Poll::Ready(reply)
    }

    fn put(&mut self, slot: Slot, length: usize) {
        self.bytes += length;
        self.slots.push_back((slot, length));
    }

    /// Gives back memory when the connection falls idle.
    pub(super) fn rest(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    fn start_alone(
        &mut self,
        session: &Session,
        inbound: Inbound,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        let reply = self.start(session.handle(inbound), length, cx);
        self.alone = reply.is_none();
        reply
    }

    /// Begins with a request. The reply, if it is there already and nothing is before it.
    #[inline]
    pub(super) fn start(
        &mut self,
        mut request: Running,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        match request.as_mut().poll(cx) {
            Poll::Ready(reply) => self.push(reply, length),
            Poll::Pending => {
                self.put(Slot::Running(request), length);
                None
            }
        }
    }
}
