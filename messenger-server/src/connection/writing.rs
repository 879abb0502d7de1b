//! When what waits is written: at once, or frame by frame to a client that gets them so; and for how long a peer
//! may take nothing of it.

use super::ConnectionTask;
use super::closing::Phase;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    /// The time between frames for a client that gets them one by one.
    pub(super) fn frame_gap(&self) -> Option<Duration> {
        self.transport
            .frame_gap
            .filter(|_| self.keepalive.is_none() && !self.driver.has_features())
    }

    /// True while a frame waits for a client that gets them one by one. Nothing more is done for it meanwhile, so
    /// that no more than a few frames ever wait.
    pub(super) fn is_frame_waiting(&self) -> bool {
        !self.output.is_flushed() && self.frame_gap().is_some()
    }

    /// Writes what waits, or the next frame of it. True when it wrote that whole.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.output.is_flushed() || self.phase == Phase::Broken {
            return Ok(false);
        }
        let gap = self.frame_gap();
        if gap.is_some() && self.poll_gap(cx).is_pending() {
            return Ok(false);
        }
        let before = self.output.written();
        let written = match gap {
            Some(_) => self.output.write_frame(&mut self.stream, cx),
            None => self.output.write(&mut self.stream, cx),
        };
        self.driver.delivered(self.output.take_delivered());
        if self.output.written() != before {
            self.stall = None;
        }
        match written {
            Poll::Ready(Ok(())) => {
                self.stall = None;
                self.gap = gap.map(|gap| Box::pin(sleep_until(Instant::now() + gap)));
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.wait_for_peer(cx)?;
                Ok(false)
            }
        }
    }

    /// Waits until the next frame may be written.
    fn poll_gap(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(gap) = &mut self.gap {
            ready!(gap.as_mut().poll(cx));
            self.gap = None;
        }
        Poll::Ready(())
    }

    /// Gives a peer that takes nothing its time, and no more.
    fn wait_for_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let patience = self.transport.write_stall;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        match stall.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.meters.write_timeout.increment(1);
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes nothing of what waits for it",
                ))
            }
        }
    }
}
