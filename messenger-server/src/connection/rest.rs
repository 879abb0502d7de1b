//! The time in which a client is not read on, because the driver says so.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Until when nothing is read.
#[derive(Debug, Default)]
pub(super) struct Rest(Option<Pin<Box<Sleep>>>);

impl Rest {
    /// For so much longer.
    #[inline]
    pub(super) fn extend(&mut self, by: Duration) {
        if !by.is_zero() {
            let begin = self.0.as_ref().map(|rest| rest.deadline());
            let end = begin.unwrap_or_else(Instant::now) + by;
            self.0 = Some(Box::pin(sleep_until(end)));
        }
    }

    /// True while nothing is read.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until the client is read on.
    #[inline]
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.0 {
            ready!(rest.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }

    /// The client is read on at once.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}
