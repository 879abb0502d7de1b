//! How a connection ends: what was begun is finished and flushed, our side is closed, and what the peer still sends
//! is dropped for a while.

use super::ConnectionTask;
use super::input::{InputError, ReadError};
use super::websocket::Close;
use messenger_proto::{ErrorCode, Failure};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

/// How much of what a client goes on sending is read when the server stops, in bytes.
pub(super) const AFTER_STOP: usize = 1024 * 1024;

/// How long a closing connection is read on, so that what the peer still sends does not make its
/// system throw away our last reply.
const LINGER: Duration = Duration::from_secs(2);

/// The same when the server stops, which must not take long.
const LINGER_AT_STOP: Duration = Duration::from_millis(300);

/// How long what is unsent may take to be sent when the client's session was ended.
const AFTER_SESSION: Duration = Duration::from_secs(1);

/// How much is read on, in bytes.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests are taken.
    Open,
    /// No more requests; what was begun is finished and flushed.
    Finishing {
        /// The peer may still be sending.
        linger: bool,
        why: Close,
    },
    /// Everything is flushed; our side is being closed.
    Closing {
        /// The peer may still be sending.
        linger: bool,
    },
    /// Our side is closed; the peer's rest is read and dropped.
    Lingering {
        /// How much has been dropped.
        dropped: usize,
    },
    /// The stream is of no use any more; requests under way are still carried out.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    /// Requests are taken.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// What was handed over is still carried out.
    pub(super) fn take_no_more(&mut self) {
        self.input.clear();
        self.driver.finish();
    }

    /// The client has sent all that it will.
    pub(super) fn end_with_input(&mut self) {
        let why = Close::Done;
        self.phase = Phase::Finishing { linger: false, why };
    }

    /// The client's session was ended: it is told by the end of the connection, and soon.
    pub(super) fn end_with_session(&mut self) {
        let why = Close::Session;
        self.phase = Phase::Finishing { linger: true, why };
        self.input.clear();
        self.list = None;
        self.must_close_in(AFTER_SESSION);
    }

    /// Notes when the server stops: what was received until now is finished.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) {
        if let Some(stop) = &mut self.stop
            && stop.poll(cx).is_ready()
        {
            self.stop = None;
            self.input.hurry();
            if let Phase::Closing { .. } | Phase::Lingering { .. } = self.phase {
                self.must_close_in(LINGER_AT_STOP);
            }
        }
    }

    pub(super) fn finish_stopping(&mut self) {
        let why = Close::Stopping;
        self.phase = Phase::Finishing { linger: true, why };
    }

    pub(super) fn refuse_input(&mut self, error: &InputError) {
        if error.is_too_long() {
            self.meters.max_frame.increment(1);
        }
        self.refuse_stream(ErrorCode::InvalidData, error, error.close());
    }

    /// Others have taken the room of the frame that was under way.
    pub(super) fn give_way(&mut self, evicted: &ReadError) {
        self.refuse_stream(ErrorCode::TooManyRequests, evicted, Close::TryLater);
    }

    /// The stream cannot be read on: says why, and ends the connection once that is flushed.
    fn refuse_stream(&mut self, code: ErrorCode, error: &dyn fmt::Display, why: Close) {
        tracing::debug!(%error, "a client's stream cannot be read on");
        self.driver.refuse(Failure::new(code, error.to_string()));
        self.input.clear();
        self.list = None;
        self.phase = Phase::Finishing { linger: true, why };
    }

    /// The stream is of no use any more.
    pub(super) fn break_off(&mut self) {
        self.phase = Phase::Broken;
        self.stall = None;
        self.list = None;
        self.output.clear();
        self.take_no_more();
    }

    /// True when nothing is left to be done but to close.
    pub(super) fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Finishing { .. } => {
                let is_done = self.input.is_empty() && self.list.is_none();
                is_done && self.driver.is_idle() && self.output.is_flushed()
            }
            Phase::Closing { .. } | Phase::Lingering { .. } => true,
            Phase::Broken => self.driver.is_idle(),
        }
    }

    /// Closes our side and, if the peer may still be sending, reads that for a while.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Broken {
            return Poll::Ready(Ok(()));
        }
        if let Phase::Finishing { linger, why } = self.phase {
            self.output.push_close(why);
            self.phase = Phase::Closing { linger };
            self.must_close_in(if self.stop.is_none() {
                LINGER_AT_STOP
            } else {
                LINGER
            });
        }
        if let Phase::Closing { linger } = self.phase {
            ready!(self.output.write(&mut self.stream, cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !linger {
                return Poll::Ready(Ok(()));
            }
            self.phase = Phase::Lingering { dropped: 0 };
        }
        while let Phase::Lingering { dropped } = self.phase {
            let read = ready!(self.input.skip(&mut self.stream, cx))?;
            let dropped = dropped + read;
            if read == 0 || dropped > LINGER_BYTES {
                break;
            }
            self.phase = Phase::Lingering { dropped };
        }
        Poll::Ready(Ok(()))
    }

    fn must_close_in(&mut self, time: Duration) {
        self.deadline = Some(Box::pin(sleep_until(Instant::now() + time)));
    }

    /// True when the client took too long to authenticate, or closing took too long.
    pub(super) fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_open() {
            if self.driver.connection().is_authenticated() {
                self.deadline = None;
                return false;
            }
            let time = self.transport.time_to_auth;
            self.deadline
                .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        }
        let deadline = self.deadline.as_mut();
        let is_late = deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if is_late && self.is_open() {
            self.meters.auth_timeout.increment(1);
            self.part(Close::AuthTimeout, cx);
        }
        is_late
    }

    /// Tells a client why its connection is cut, if it takes that at once.
    fn part(&mut self, why: Close, cx: &mut Context<'_>) {
        if self.output.is_flushed() {
            self.output.push_close(why);
            let _ = self.output.write(&mut self.stream, cx);
        }
    }
}
