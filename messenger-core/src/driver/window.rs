//! Requests under way, answered in their order.

use super::DriverLimits;
use crate::connection::Connection;
use crate::reply::{Reply, Running};
use messenger_proto::Inbound;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Requests under way. `message` requests overlap; any other waits for those before it, and those
/// behind wait for it.
pub(super) struct Window {
    pub(super) limits: Arc<DriverLimits>,
    /// The answer to a request that was carried out at once, with none before it.
    ready: Option<Reply>,
    slots: VecDeque<Slot>,
    /// How many of the last slots were not polled yet.
    unpolled: usize,
    /// The bytes of the frames under way.
    bytes: usize,
    /// Came behind requests that must be finished before it. In a box, as it is rarely there, and large.
    waiting: Option<Box<(Inbound, usize)>>,
    /// What is under way must be finished before anything else begins.
    is_alone: bool,
}

struct Slot {
    progress: Progress,
    /// The length of its frame.
    length: usize,
}

enum Progress {
    Running(Running),
    /// The reply is taken once.
    Done(Option<Box<Reply>>),
}

impl Window {
    /// A window of as many requests as may overlap.
    pub(super) fn new(limits: Arc<DriverLimits>) -> Self {
        Self {
            limits,
            ready: None,
            slots: VecDeque::new(),
            unpolled: 0,
            bytes: 0,
            waiting: None,
            is_alone: false,
        }
    }

    /// True when another request may be taken.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let is_open = self.waiting.is_none() && !self.is_alone;
        let DriverLimits {
            overlapping,
            overlapping_bytes,
            ..
        } = *self.limits;
        is_open && self.slots.len() < overlapping && self.bytes < overlapping_bytes
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_none() && self.slots.is_empty() && self.waiting.is_none()
    }

    /// Puts a reply behind the requests that are under way.
    #[inline]
    pub(super) fn push(&mut self, reply: Reply, length: usize) {
        if self.is_empty() {
            self.ready = Some(reply);
        } else {
            self.put(Progress::Done(Some(Box::new(reply))), length);
        }
    }

    /// Puts a request beside those that are under way.
    pub(super) fn start(&mut self, request: Running, length: usize) {
        self.put(Progress::Running(request), length);
        self.unpolled += 1;
    }

    /// Begins with a request that must be alone, once those before it are finished.
    pub(super) fn start_alone(&mut self, inbound: Inbound, length: usize) {
        self.waiting = Some(Box::new((inbound, length)));
    }

    /// The next reply, in the order of the requests. Each request is polled once when it begins, so that
    /// the store has it in its queue; after that only the first is.
    #[inline]
    pub(super) fn poll(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<Reply> {
        // As in the driver.
        if self.ready.is_some()
            && let Some(reply) = self.ready.take()
        {
            return Poll::Ready(reply);
        }
        if self.slots.is_empty() {
            let Some(waiting) = self.waiting.take() else {
                return Poll::Pending;
            };
            let (inbound, length) = *waiting;
            self.is_alone = true;
            self.start(connection.handle(inbound), length);
        }
        self.poll_slots(cx)
    }

    fn poll_slots(&mut self, cx: &mut Context<'_>) -> Poll<Reply> {
        let polled = self.slots.len() - std::mem::take(&mut self.unpolled);
        for slot in self.slots.range_mut(polled..) {
            if let Progress::Running(request) = &mut slot.progress
                && let Poll::Ready(reply) = request.as_mut().poll(cx)
            {
                slot.progress = Progress::Done(Some(Box::new(reply)));
            }
        }
        let reply = match self.slots.front_mut().map(|slot| &mut slot.progress) {
            Some(Progress::Running(request)) if polled > 0 => ready!(request.as_mut().poll(cx)),
            Some(Progress::Done(reply)) => match reply.take() {
                Some(reply) => *reply,
                None => return Poll::Pending,
            },
            _ => return Poll::Pending,
        };
        if let Some(slot) = self.slots.pop_front() {
            self.bytes -= slot.length;
        }
        self.is_alone = false;
        Poll::Ready(reply)
    }

    fn put(&mut self, progress: Progress, length: usize) {
        self.bytes += length;
        self.slots.push_back(Slot { progress, length });
    }

    /// Gives back memory when the connection falls idle.
    pub(super) fn release_buffers(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }
}
