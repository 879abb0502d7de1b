//! Finds out whether a client that is silent is still there.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Asks a client that is silent for a sign of life. (Over TCP the system does that; what stands between a browser and
/// the server mostly hides it, and closes what is silent.)
#[derive(Debug)]
pub(crate) struct Keepalive {
    /// A client that is silent for longer is asked, at the latest after twice that.
    every: Duration,
    /// How long it may take to answer.
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Something has come since the timer began.
    is_heard: bool,
    is_asked: bool,
}

/// What is to be done about a client's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Ask,
    /// It has not answered.
    GiveUp,
}

impl Keepalive {
    /// Asks a client that has been silent for between half of `interval` and all of it, and waits for `patience` then.
    pub(crate) fn new(interval: Duration, patience: Duration) -> Self {
        let every = (interval / 2).max(Duration::from_millis(1));
        Self {
            every,
            patience,
            timer: Box::pin(sleep(every)),
            is_heard: false,
            is_asked: false,
        }
    }

    /// Something has come.
    pub(crate) fn note_heard(&mut self) {
        self.is_heard = true;
    }

    /// Whoever is not listened to, for `is_deaf`, cannot be heard.
    pub(crate) fn poll(&mut self, is_deaf: bool, cx: &mut Context<'_>) -> Poll<Silence> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let is_heard = std::mem::take(&mut self.is_heard) || is_deaf;
            let (told, time) = match is_heard {
                true => (None, self.every),
                false if self.is_asked => (Some(Silence::GiveUp), self.every),
                false => (Some(Silence::Ask), self.patience),
            };
            self.is_asked = told == Some(Silence::Ask);
            self.timer.as_mut().reset(Instant::now() + time);
            if let Some(told) = told {
                return Poll::Ready(told);
            }
        }
    }
}
