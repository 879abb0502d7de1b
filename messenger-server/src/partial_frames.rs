//! What all connections together hold of frames that have not come whole.
//!
//! A peer that sends part of a large frame and stops costs memory for as long as it likes; many such
//! peers must not cost more than one budget. Whoever needs room takes it from those whose frames stand
//! still; these are disconnected. When everyone gets on, there may be too little for all to finish:
//! then they wait, but for the one that has waited longest, for which a part of the budget is kept.

use crate::meters::Meters;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// A part of a frame up to this size, in bytes, need not wait for room: it takes the place of another
/// of its kind.
const SMALL: usize = 64 * 1024;

/// A frame of which next to nothing has come for so long gives way to others.
pub(crate) const STALE: Duration = Duration::from_secs(1);

/// How many that wait are woken when room is given back; the others look again by themselves.
const WOKEN: usize = 64;

/// So much of a large frame, in bytes, is more than next to nothing.
pub(crate) const PROGRESS: usize = 16 * 1024;

/// The budget.
#[derive(Debug)]
pub(crate) struct PartialFrameBudget {
    most: usize,
    /// Kept for the large frame that began first.
    kept: usize,
    meters: Arc<Meters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Counts up.
    number: u64,
    /// By numbers: whose frame got on later has the higher one.
    small: BTreeMap<u64, Holder>,
    large: BTreeMap<u64, Holder>,
    /// Large frames by numbers: which began later has the higher one.
    began: BTreeSet<u64>,
    /// Those that wait for room, by their shares' numbers.
    waiting: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    since: Instant,
    /// When the frame became a large one.
    began: Option<u64>,
    /// It cannot get on for want of room.
    is_waiting: bool,
    waker: Waker,
}

impl Holder {
    fn stands_still(&self, now: Instant) -> bool {
        !self.is_waiting && now.duration_since(self.since) >= STALE
    }
}

/// The frame had to give way to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted;

/// What one connection holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<PartialFrameBudget>,
    number: u64,
    place: Option<Place>,
    is_waiting: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    is_small: bool,
}

impl PartialFrameBudget {
    /// A budget of `most` bytes; no frame is longer than `longest`.
    pub(crate) fn new(most: usize, longest: usize, meters: Arc<Meters>) -> Self {
        // One byte more tells that a frame is too long.
        let kept = longest.saturating_add(1);
        Self {
            most: most.max(kept),
            kept,
            meters,
            state: Mutex::default(),
        }
    }

    pub(crate) fn share(self: &Arc<Self>) -> Reservation {
        Reservation {
            budget: Arc::clone(self),
            number: self.state.lock().next_number(),
            place: None,
            is_waiting: false,
        }
    }
}

impl Reservation {
    /// Holds so many bytes from now on, in place of what it held. `has_got_on` tells that more of the
    /// frame has come since. Pending while others have the room: then it goes on holding what it held.
    ///
    /// Whoever waits is woken when room is given back; it must ask again after [`STALE`] as well.
    pub(crate) fn poll_hold(
        &mut self,
        bytes: usize,
        has_got_on: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Evicted>> {
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state.lock();
        let held = self.place.take().map(|place| state.take(place));
        let mut holder = match held {
            Some(None) => return Poll::Ready(Err(Evicted)),
            Some(Some(holder)) => holder,
            None => Holder {
                bytes: 0,
                since: Instant::now(),
                began: None,
                is_waiting: false,
                waker: cx.waker().clone(),
            },
        };
        holder.waker.clone_from(cx.waker());
        if bytes > SMALL && holder.began.is_none() {
            holder.began = Some(state.next_number());
        }
        let has_room = state.make_room(&budget, bytes, holder.began);
        let got_on = has_got_on || holder.is_waiting || holder.bytes == 0;
        if has_room && got_on {
            holder.since = Instant::now();
        }
        if has_room {
            holder.bytes = bytes;
        }
        holder.is_waiting = !has_room;
        self.place = Some(state.put(holder));
        budget.meters.set_partial_frames(state.used);
        if has_room {
            self.stop_waiting(&mut state);
            return Poll::Ready(Ok(()));
        }
        state.waiting.insert(self.number, cx.waker().clone());
        self.is_waiting = true;
        Poll::Pending
    }

    /// True when it had to give way to others.
    pub(crate) fn is_evicted(&self) -> bool {
        self.place.is_some_and(|place| {
            let state = self.budget.state.lock();
            !state.of(place.is_small).contains_key(&place.number)
        })
    }

    /// Holds nothing any more.
    pub(crate) fn release(&mut self) {
        if self.place.is_none() && !self.is_waiting {
            return;
        }
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state.lock();
        if let Some(place) = self.place.take() {
            state.drop_holder(place);
        }
        self.stop_waiting(&mut state);
        budget.meters.set_partial_frames(state.used);
        let rest = state.waiting.keys().nth(WOKEN).copied();
        let rest = rest.map(|first| state.waiting.split_off(&first));
        let woken = std::mem::replace(&mut state.waiting, rest.unwrap_or_default());
        drop(state);
        woken.into_values().for_each(Waker::wake);
    }

    fn stop_waiting(&mut self, state: &mut State) {
        if std::mem::take(&mut self.is_waiting) {
            state.waiting.remove(&self.number);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn of(&self, is_small: bool) -> &BTreeMap<u64, Holder> {
        if is_small { &self.small } else { &self.large }
    }

    fn of_mut(&mut self, is_small: bool) -> &mut BTreeMap<u64, Holder> {
        if is_small {
            &mut self.small
        } else {
            &mut self.large
        }
    }

    fn take(&mut self, place: Place) -> Option<Holder> {
        let holder = self.of_mut(place.is_small).remove(&place.number)?;
        self.used -= holder.bytes;
        Some(holder)
    }

    fn put(&mut self, holder: Holder) -> Place {
        let place = Place {
            number: self.next_number(),
            is_small: holder.bytes <= SMALL,
        };
        self.used += holder.bytes;
        self.began.extend(holder.began);
        self.of_mut(place.is_small).insert(place.number, holder);
        place
    }

    /// The holder, which holds nothing any more.
    fn drop_holder(&mut self, place: Place) -> Option<Holder> {
        let holder = self.take(place)?;
        if let Some(began) = holder.began {
            self.began.remove(&began);
        }
        Some(holder)
    }

    /// Has holders give way until so many bytes fit, or none is left that has to. True when they fit.
    fn make_room(&mut self, budget: &PartialFrameBudget, bytes: usize, began: Option<u64>) -> bool {
        let first = self.began.first().copied();
        let is_first = began.is_some() && (first.is_none() || first >= began);
        let is_small = bytes <= SMALL;
        let most = if is_first || is_small {
            budget.most
        } else {
            budget.most - budget.kept
        };
        let now = Instant::now();
        while self.used + bytes > most {
            let still = self.one_that_stands_still(now);
            let small = (is_first || is_small).then(|| self.oldest_small());
            let Some(place) = still.or(small.flatten()) else {
                return is_small;
            };
            if let Some(evicted) = self.drop_holder(place) {
                budget.meters.partial_frames_evicted.increment(1);
                evicted.waker.wake();
            }
        }
        true
    }

    fn oldest_small(&self) -> Option<Place> {
        let (number, _) = self.small.first_key_value()?;
        Some(Place {
            number: *number,
            is_small: true,
        })
    }

    fn one_that_stands_still(&self, now: Instant) -> Option<Place> {
        let still = [true, false].into_iter().filter_map(|is_small| {
            let mut holders = self.of(is_small).iter();
            let (number, _) = holders.find(|(_, holder)| holder.stands_still(now))?;
            Some(Place {
                number: *number,
                is_small,
            })
        });
        still.min_by_key(|place| place.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    const MIB: usize = 1024 * 1024;
    const LONGEST: usize = 8 * MIB;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn budget(most: usize) -> Arc<PartialFrameBudget> {
        Arc::new(PartialFrameBudget::new(
            most,
            LONGEST,
            Arc::new(Meters::new()),
        ))
    }

    fn hold(share: &mut Reservation, bytes: usize) -> Poll<Result<(), Evicted>> {
        share.poll_hold(bytes, true, &mut Context::from_waker(Waker::noop()))
    }

    fn used(budget: &PartialFrameBudget) -> usize {
        budget.state.lock().used
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_budget_is_held_and_all_of_it_is_given_back() {
        let budget = budget(20 * MIB);
        let mut shares: Vec<_> = (0..9).map(|_| budget.share()).collect();
        let held = shares.iter_mut().map(|share| hold(share, 3 * MIB));
        let held = held.filter(|held| *held == Poll::Ready(Ok(())));
        // A part is kept for the one that began first.
        assert_eq!(held.count(), 3);
        assert_eq!(hold(&mut shares[0], LONGEST), Poll::Ready(Ok(())));
        assert_eq!(used(&budget), LONGEST + 6 * MIB);
        shares[1].release();
        drop(shares);
        assert_eq!(used(&budget), 0);
        let state = budget.state.lock();
        assert!(state.waiting.is_empty() && state.began.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_gives_way_and_what_gets_on_does_not() {
        let budget = budget(20 * MIB);
        let (mut still, mut moving, mut new) = (budget.share(), budget.share(), budget.share());
        assert!(hold(&mut still, 4 * MIB).is_ready());
        assert!(hold(&mut moving, 4 * MIB).is_ready());
        assert!(hold(&mut new, 7 * MIB).is_pending());
        tokio::time::advance(STALE).await;
        assert!(hold(&mut moving, 5 * MIB).is_ready());
        assert!(hold(&mut new, 6 * MIB).is_ready());
        assert!(still.is_evicted());
        assert!(!moving.is_evicted());
        assert_eq!(hold(&mut still, 5 * MIB), Poll::Ready(Err(Evicted)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_room_keeps_what_it_has() {
        let budget = budget(12 * MIB);
        let (mut first, mut second) = (budget.share(), budget.share());
        let mut third = budget.share();
        assert!(hold(&mut first, 2 * MIB).is_ready());
        assert!(hold(&mut second, MIB).is_ready());
        assert!(hold(&mut second, 2 * MIB).is_pending());
        assert!(
            hold(&mut first, LONGEST).is_ready(),
            "a part is kept for it"
        );
        tokio::time::advance(STALE).await;
        assert!(hold(&mut first, LONGEST).is_ready(), "it gets on");
        assert!(hold(&mut third, MIB).is_pending());
        assert!(!first.is_evicted() && !second.is_evicted());
        first.release();
        assert!(hold(&mut second, LONGEST).is_ready(), "it is the first now");
    }

    #[tokio::test(start_paused = true)]
    async fn looking_again_is_not_getting_on() {
        let budget = budget(20 * MIB);
        let (mut still, mut new) = (budget.share(), budget.share());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(hold(&mut still, LONGEST).is_ready());
        tokio::time::advance(STALE).await;
        assert!(still.poll_hold(LONGEST, false, cx).is_ready());
        assert!(hold(&mut new, 4 * MIB).is_ready());
        assert!(still.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn small_parts_take_each_others_places() {
        let meters = Arc::new(Meters::new());
        let budget = Arc::new(PartialFrameBudget::new(10 * SMALL, SMALL, meters));
        let mut shares: Vec<_> = (0..100).map(|_| budget.share()).collect();
        for share in &mut shares {
            assert_eq!(hold(share, SMALL), Poll::Ready(Ok(())));
            assert!(used(&budget) <= 10 * SMALL);
        }
        let evicted = shares.iter().filter(|share| share.is_evicted());
        assert_eq!(evicted.count(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_when_room_is_given_back() {
        let budget = budget(12 * MIB);
        let (mut first, mut second) = (budget.share(), budget.share());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(hold(&mut first, LONGEST).is_ready());
        let cx = &mut Context::from_waker(&waker);
        assert!(second.poll_hold(LONGEST, true, cx).is_pending());
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(second.poll_hold(LONGEST, true, cx).is_ready());
    }
}
