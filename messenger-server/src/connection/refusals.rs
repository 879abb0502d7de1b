//! A client whose message there was no room for is read on a little later: what it is refused costs others
//! processor time.

use messenger_proto::{ErrorCode, Failure};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client is not read then.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// And so much longer for each byte of the message: large frames cost more.
const AFTER_REFUSED_BYTE: Duration = Duration::from_nanos(60);

/// What a client was refused for want of room.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Until when nothing is read.
    pause: Option<Pin<Box<Sleep>>>,
    is_last: bool,
}

impl Refusals {
    /// A message, whose frame had so many bytes, was answered this.
    #[inline]
    pub(super) fn note<T>(&mut self, answer: &Result<T, Failure>, length: usize) {
        self.is_last = answer.as_ref().is_err_and(lacks_room);
        if self.is_last {
            self.pause_for(length);
        }
    }

    /// For longer if that was decided already for a message before.
    fn pause_for(&mut self, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let begin = self.pause.as_ref().map(|pause| pause.deadline());
        let pause = AFTER_REFUSAL + AFTER_REFUSED_BYTE * length;
        let end = begin.unwrap_or_else(Instant::now) + pause;
        self.pause = Some(Box::pin(sleep_until(end)));
    }

    /// True when there was no room for the last message: those that follow are handed over one by one.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// True while nothing is read.
    pub(super) fn is_pausing(&self) -> bool {
        self.pause.is_some()
    }

    /// Waits until the client is read on.
    #[inline]
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// The client is read on at once.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }
}

/// True when a message was refused for want of room, of whatever kind.
fn lacks_room(failure: &Failure) -> bool {
    use ErrorCode::{InboxFull, TooManyRequests, Unavailable};
    matches!(failure.code, TooManyRequests | InboxFull | Unavailable)
}
