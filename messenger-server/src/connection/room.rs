//! What a connection takes of the room that all have together for what waits to be written.

use crate::budget::{Evicted, PROGRESS, Pace, Reservation};
use std::task::{Context, Poll};

/// A peer that takes what waits for it so slowly that it would need more seconds than these does not get on.
const PATIENCE: usize = 60;

/// What waits to be written on a connection, and the list that is being made for it.
#[derive(Debug)]
pub(super) struct Room {
    share: Reservation,
    /// How much was written when it had got on last.
    seen: u64,
    /// The most bytes of the list that is being made.
    expected: usize,
}

impl Room {
    pub(super) fn new(share: Reservation) -> Self {
        Self {
            share,
            seen: 0,
            expected: 0,
        }
    }

    /// Waits until there is room for a list of so many bytes. To be called when nothing waits to be written.
    pub(super) fn poll_list(
        &mut self,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Evicted>> {
        let held = self.share.poll_hold(bytes, true, cx);
        if let Poll::Ready(Ok(())) = held {
            self.expected = bytes;
        }
        held
    }

    /// True while a list is being made.
    pub(super) fn expects_list(&self) -> bool {
        self.expected > 0
    }

    /// The list is there, or why there is none.
    pub(super) fn list_came(&mut self) {
        self.expected = 0;
    }

    /// So much waits, and so much was ever written.
    pub(super) fn keep(
        &mut self,
        unsent: usize,
        written: u64,
        cx: &Context<'_>,
    ) -> Result<(), Evicted> {
        if unsent == 0 && self.expected == 0 {
            return self.rest(written);
        }
        let taken = written - self.seen;
        let wanted = (unsent / PATIENCE).max(PROGRESS);
        let pace = match self.expected {
            0 if usize::try_from(taken).is_ok_and(|taken| taken < wanted) => Pace::Standing,
            0 => Pace::GotOn,
            _ => Pace::Excused,
        };
        if pace != Pace::Standing {
            self.seen = written;
        }
        let kept = self.share.keep(unsent + self.expected, pace, cx.waker());
        if kept.is_err() {
            self.share.release();
        }
        kept
    }

    /// Nothing waits. A request that waits for room goes on waiting.
    fn rest(&mut self, written: u64) -> Result<(), Evicted> {
        self.seen = written;
        let is_evicted = self.share.is_evicted();
        if is_evicted || !self.share.is_waiting() {
            self.share.release();
        }
        match is_evicted {
            true => Err(Evicted),
            false => Ok(()),
        }
    }
}
