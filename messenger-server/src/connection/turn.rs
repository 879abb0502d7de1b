//! How long a connection goes on before it lets others run.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, available_parallelism};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio_util::sync::PollSemaphore;

/// How many requests a connection carries out before it lets others run.
const REQUESTS: usize = 64;

/// How many bytes it reads.
const BYTES: usize = 64 * 1024;

/// Where floods run: connections that read as many bytes as a turn has. One thread is left to all others, which need
/// not wait for turns of those; and on the other sockets are looked at after each.
pub(crate) fn flood_places() -> Arc<Semaphore> {
    let threads = available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((threads - 1).max(1)))
}

/// What may still be done before others run.
pub(super) struct Turn {
    requests: usize,
    bytes: usize,
    /// The last turn was not long enough for what had come: the next one needs a place.
    is_flood: bool,
    places: PollSemaphore,
    /// Kept until sockets have been looked at behind the turn.
    place: Option<OwnedSemaphorePermit>,
    /// It waits for a place.
    is_waiting: bool,
}

impl Turn {
    pub(super) fn new(flood_places: Arc<Semaphore>) -> Self {
        Self {
            requests: REQUESTS,
            bytes: BYTES,
            is_flood: false,
            places: PollSemaphore::new(flood_places),
            place: None,
            is_waiting: false,
        }
    }

    /// The connection is polled. A flood that finds no place waits for one, and nothing is read meanwhile.
    ///
    /// It is asked for at the beginning of each poll, so that none is given to somebody who does not take it.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>) {
        self.requests = REQUESTS;
        self.bytes = BYTES;
        self.place = None;
        if !self.is_flood {
            return;
        }
        match self.places.poll_acquire(cx) {
            Poll::Ready(place) => self.place = place,
            Poll::Pending => self.is_waiting = true,
        }
    }

    /// The poll is over. `unfinished` bytes of a frame are there: one that is longer than a turn is read and carried out as
    /// a flood, however slowly it comes, for that takes as long.
    ///
    /// Others find the place when sockets have been looked at: whoever has said something meanwhile waits for one turn
    /// of a flood, not for as many as there are floods.
    pub(super) fn end(&mut self, unfinished: usize, cx: &mut Context<'_>) {
        let goes_on = self.goes_on();
        if self.requests == REQUESTS && self.bytes == BYTES {
            // It was polled for something else, and nobody has waited for it.
            self.place = None;
        }
        self.is_flood = self.is_waiting || self.bytes == 0 || unfinished >= BYTES;
        self.is_waiting = false;
        if self.place.is_some() {
            // Other threads, and clients on the same machine, have waited for the processor meanwhile.
            thread::yield_now();
        }
        if goes_on || self.place.is_some() {
            // That has the task polled again behind the next look.
            let _ = pin!(yield_now()).poll(cx);
        }
    }

    pub(super) fn note_request(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    pub(super) fn note_read(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// True when nothing more is to be read in this turn.
    pub(super) fn is_over(&self) -> bool {
        self.is_waiting || self.goes_on()
    }

    /// True when the next turn is to follow as soon as others have had theirs.
    fn goes_on(&self) -> bool {
        !self.is_waiting && (self.requests == 0 || self.bytes == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;
    use std::task::Waker;

    /// A connection that reads as much as it may; whether that was anything.
    fn flood(turn: &mut Turn, waker: &Waker) -> bool {
        turn.begin(&mut Context::from_waker(waker));
        let may_read = !turn.is_over();
        if may_read {
            turn.note_read(BYTES);
            assert!(turn.is_over() && turn.goes_on());
        } else {
            assert!(!turn.goes_on(), "it is woken when there is a place");
        }
        may_read
    }

    fn end(turn: &mut Turn, waker: &Waker) {
        turn.end(0, &mut Context::from_waker(waker));
    }

    #[test]
    fn a_flood_waits_for_a_place_and_finds_it_when_sockets_were_looked_at_behind_anothers_turn() {
        let places = Arc::new(Semaphore::new(1));
        let mut floods = [(); 3].map(|()| Turn::new(Arc::clone(&places)));
        for turn in &mut floods {
            assert!(flood(turn, Waker::noop()), "nobody is a flood yet");
            end(turn, Waker::noop());
        }
        let [first, second, third] = &mut floods;
        let woken = [(); 2].map(|()| Arc::new(Woken::default()));
        let [first_waker, second_waker] = woken.each_ref().map(|it| Waker::from(Arc::clone(it)));
        let [first_woken, second_woken] = woken;
        assert!(flood(first, Waker::noop()));
        assert!(!flood(second, &second_waker));
        end(second, Waker::noop());
        end(first, &first_waker);
        assert_eq!(first_woken.count(), 1);
        assert_eq!(second_woken.count(), 0, "nobody has looked");
        assert!(
            !flood(first, Waker::noop()),
            "the second has waited for longer"
        );
        end(first, Waker::noop());
        assert_eq!(second_woken.count(), 1);
        assert!(!flood(third, Waker::noop()));
        end(third, Waker::noop());
        assert!(flood(second, Waker::noop()));
        end(second, Waker::noop());
        assert!(!flood(second, Waker::noop()));
        end(second, Waker::noop());
        // Whoever has caught up needs no place from then on.
        first.begin(&mut Context::from_waker(Waker::noop()));
        first.note_read(1);
        end(first, Waker::noop());
        first.begin(&mut Context::from_waker(Waker::noop()));
        assert!(!first.is_over());
        assert!(flood(third, Waker::noop()));
    }

    #[test]
    fn a_large_frame_of_which_nothing_more_comes_is_not_looked_at_again_and_keeps_no_place() {
        let places = Arc::new(Semaphore::new(1));
        let [mut first, mut second] = [(); 2].map(|()| Turn::new(Arc::clone(&places)));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for turn in [&mut first, &mut second] {
            assert!(flood(turn, Waker::noop()));
            turn.end(BYTES, &mut Context::from_waker(Waker::noop()));
        }
        first.begin(&mut Context::from_waker(&waker));
        assert!(!first.is_over());
        first.end(BYTES, &mut Context::from_waker(&waker));
        assert_eq!(woken.count(), 0);
        assert!(flood(&mut second, Waker::noop()), "the place is free");
    }

    #[test]
    fn a_place_is_not_kept_by_somebody_who_has_gone() {
        let places = Arc::new(Semaphore::new(1));
        let [mut first, mut second, mut third] = [(); 3].map(|()| Turn::new(Arc::clone(&places)));
        for turn in [&mut first, &mut second, &mut third] {
            flood(turn, Waker::noop());
            end(turn, Waker::noop());
        }
        assert!(flood(&mut first, Waker::noop()));
        for turn in [&mut second, &mut third] {
            assert!(!flood(turn, Waker::noop()));
            end(turn, Waker::noop());
        }
        end(&mut first, Waker::noop());
        drop(second);
        drop(first);
        assert!(flood(&mut third, Waker::noop()));
    }

    #[test]
    fn after_as_many_requests_others_have_a_turn_and_that_is_no_flood() {
        let places = Arc::new(Semaphore::new(0));
        let mut turn = Turn::new(places);
        for _ in 0..3 {
            turn.begin(&mut Context::from_waker(Waker::noop()));
            for _ in 0..REQUESTS {
                assert!(!turn.is_over());
                turn.note_request();
            }
            assert!(turn.goes_on());
            end(&mut turn, Waker::noop());
        }
    }

    #[test]
    fn a_frame_longer_than_a_turn_needs_a_place_however_slowly_it_comes() {
        let mut turn = Turn::new(Arc::new(Semaphore::new(0)));
        turn.begin(&mut Context::from_waker(Waker::noop()));
        turn.note_read(1);
        turn.end(BYTES - 1, &mut Context::from_waker(Waker::noop()));
        turn.begin(&mut Context::from_waker(Waker::noop()));
        assert!(!turn.is_over());
        turn.note_read(1);
        turn.end(BYTES, &mut Context::from_waker(Waker::noop()));
        turn.begin(&mut Context::from_waker(Waker::noop()));
        assert!(turn.is_over());
    }
}
