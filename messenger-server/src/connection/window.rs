//! Requests under way, answered in their order.

use super::input::Frame;
use messenger_core::{Reply, Session};
use messenger_proto::Inbound;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Requests under way. `message` requests overlap; any other waits for those before it, and those
/// behind wait for it.
pub(super) struct Window {
    size: usize,
    slots: VecDeque<Slot>,
    /// Came behind requests that must be finished before it.
    waiting: Option<Inbound>,
    /// What is under way must be finished before anything else begins.
    alone: bool,
}

enum Slot {
    Running(Pin<Box<dyn Future<Output = Reply> + Send>>),
    Done(Box<Reply>),
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            slots: VecDeque::new(),
            waiting: None,
            alone: false,
        }
    }

    /// True when another frame may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_none() && !self.alone && self.slots.len() < self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.waiting.is_none()
    }

    /// Begins with the request in a frame, or refuses a frame that is none. The reply, if it is there
    /// already and nothing is before it.
    pub(super) fn begin(
        &mut self,
        session: &Session,
        frame: Frame,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        match frame {
            Err(bad) => self.push(session.refuse(&bad)),
            Ok(inbound) if session.may_overlap(&inbound) => self.start(session, inbound, cx),
            Ok(inbound) if self.slots.is_empty() => self.start_alone(session, inbound, cx),
            Ok(inbound) => {
                self.waiting = Some(inbound);
                None
            }
        }
    }

    /// Puts a reply behind those that are under way; gives it back when there are none.
    pub(super) fn push(&mut self, reply: Reply) -> Option<Reply> {
        if self.slots.is_empty() {
            return Some(reply);
        }
        self.slots.push_back(Slot::Done(Box::new(reply)));
        None
    }

    /// The next reply, in the order of the requests. Only the first request under way is polled on:
    /// each was polled once, so that the store has it in its queue.
    pub(super) fn poll(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<Reply> {
        if self.slots.is_empty()
            && let Some(inbound) = self.waiting.take()
            && let Some(reply) = self.start_alone(session, inbound, cx)
        {
            return Poll::Ready(reply);
        }
        if let Some(Slot::Running(request)) = self.slots.front_mut() {
            let reply = ready!(request.as_mut().poll(cx));
            self.slots.pop_front();
            self.alone = false;
            return Poll::Ready(reply);
        }
        match self.slots.pop_front() {
            Some(Slot::Done(reply)) => Poll::Ready(*reply),
            _ => Poll::Pending,
        }
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
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        let reply = self.start(session, inbound, cx);
        self.alone = reply.is_none();
        reply
    }

    fn start(
        &mut self,
        session: &Session,
        inbound: Inbound,
        cx: &mut Context<'_>,
    ) -> Option<Reply> {
        let mut request = Box::pin(session.handle(inbound));
        match request.as_mut().poll(cx) {
            Poll::Ready(reply) => self.push(reply),
            Poll::Pending => {
                self.slots.push_back(Slot::Running(request));
                None
            }
        }
    }
}
