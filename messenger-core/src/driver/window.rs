//! Requests under way, answered in their order.

use super::DriverLimits;
use crate::reply::{Reply, Running, Started};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// For how many answers room is made at once.
const ROOM: usize = 16;

/// Requests under way. `message` requests overlap; any other waits for those before it, and those
/// behind wait for it.
pub(super) struct Window {
    pub(super) limits: Arc<DriverLimits>,
    /// The answers to requests that were carried out at once, with none under way before them; and their frames' lengths.
    ready: VecDeque<(Reply, usize)>,
    slots: VecDeque<Slot>,
    /// How many of the last slots were not polled yet.
    unpolled: usize,
    /// The bytes of the frames under way.
    bytes: usize,
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
            ready: VecDeque::new(),
            slots: VecDeque::new(),
            unpolled: 0,
            bytes: 0,
            is_alone: false,
        }
    }

    /// True when another request may be taken, while so many with so many bytes are not begun.
    #[inline]
    pub(super) fn has_room(&self, taken: usize, taken_bytes: usize) -> bool {
        let DriverLimits {
            overlapping,
            overlapping_bytes,
            ..
        } = *self.limits;
        let requests = self.ready.len() + self.slots.len() + taken;
        !self.is_alone && requests < overlapping && self.bytes + taken_bytes < overlapping_bytes
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.slots.is_empty()
    }

    /// True while a request is carried out beside which nothing is begun.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Puts a request behind those that are under way.
    #[inline]
    pub(super) fn put(&mut self, started: Started, length: usize) {
        match started {
            Started::Done(reply) if self.slots.is_empty() => {
                if self.ready.capacity() == 0 {
                    self.ready.reserve(ROOM);
                }
                self.ready.push_back((reply, length));
            }
            Started::Done(reply) => self.put_slot(Progress::Done(Some(Box::new(reply))), length),
            Started::Pending(request) => {
                self.put_slot(Progress::Running(request), length);
                self.unpolled += 1;
            }
        }
    }

    /// Puts a request here beside which nothing is begun.
    pub(super) fn put_alone(&mut self, request: Running, length: usize) {
        self.is_alone = true;
        self.put(Started::Pending(request), length);
    }

    /// The next reply, in the order of the requests, and the length of the request's frame. Each request is polled once when it begins, so that
    /// the store has it in its queue; after that only the first is.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Reply, usize)> {
        match self.ready.pop_front() {
            Some(reply) => Poll::Ready(reply),
            None if self.slots.is_empty() => Poll::Pending,
            None => self.poll_slots(cx),
        }
    }

    fn poll_slots(&mut self, cx: &mut Context<'_>) -> Poll<(Reply, usize)> {
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
        let length = self.slots.pop_front().map_or(0, |slot| slot.length);
        self.bytes -= length;
        self.is_alone = false;
        Poll::Ready((reply, length))
    }

    fn put_slot(&mut self, progress: Progress, length: usize) {
        self.bytes += length;
        self.slots.push_back(Slot { progress, length });
    }

    /// Gives back memory when the connection falls idle.
    pub(super) fn release_buffers(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }
}
