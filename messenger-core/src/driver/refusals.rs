//! A client whose message there was no room for is read on a little later: what it is refused costs others
//! processor time.

use messenger_proto::{ErrorCode, Failure, Response};
use std::time::Duration;

/// How long no request of such a client is taken.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// And so much longer for each byte of the message: large frames cost more.
const AFTER_REFUSED_BYTE: Duration = Duration::from_nanos(60);

/// What a client was refused for want of room.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rest: Duration,
    is_last: bool,
}

impl Refusals {
    /// A request, whose frame had so many bytes, is answered this.
    #[inline]
    pub(super) fn note(&mut self, response: &Response, length: usize) {
        if let Response::SendMessage(answer) = response {
            self.is_last = answer.as_ref().is_err_and(lacks_room);
            if self.is_last {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                self.rest += AFTER_REFUSAL + AFTER_REFUSED_BYTE * length;
            }
        }
    }

    /// True when there was no room for the last message: those that follow are taken one by one.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    #[inline]
    pub(super) fn take_rest(&mut self) -> Duration {
        std::mem::take(&mut self.rest)
    }
}

/// True when a message was refused for want of room, of whatever kind.
fn lacks_room(failure: &Failure) -> bool {
    use ErrorCode::{InboxFull, TooManyRequests, Unavailable};
    matches!(failure.code, TooManyRequests | InboxFull | Unavailable)
}
