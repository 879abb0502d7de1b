//! What all connections together hold: of frames that have not come whole, and of what waits to be written.
//!
//! A peer that sends part of a large frame and stops, or asks for a long list and does not take it, costs memory for
//! as long as it likes; many such peers must not cost more than one budget. Whoever needs room takes it from those
//! that stand still; these are disconnected. When everyone gets on, there may be too little for all to finish:
//! then they wait, but for the one that has waited longest, for which a part of the budget is kept. What is there
//! already cannot wait: it takes the place of whoever has got on least recently.

use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// So many bytes, or fewer, need not wait for room: they take the place of others of their kind.
const SMALL: usize = 64 * 1024;

/// Whoever has not got on for so long gives way to others.
const STALE: Duration = Duration::from_secs(1);

/// How many that wait are woken when room is given back; the others look again by themselves.
const WOKEN: usize = 64;

/// Whoever has moved on by so many bytes has got on.
pub(crate) const PROGRESS: usize = 16 * 1024;

/// The budget.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    /// Kept for the large holder that began first.
    kept: usize,
    meters: BudgetMeters,
    state: Mutex<State>,
}

/// What a budget tells.
#[derive(Debug)]
pub(crate) struct BudgetMeters {
    /// The bytes that are held.
    pub(crate) held: Gauge,
    /// How many had to give way.
    pub(crate) evicted: Counter,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Counts up.
    number: u64,
    /// By numbers: who got on later has the higher one.
    small: BTreeMap<u64, Holder>,
    large: BTreeMap<u64, Holder>,
    /// Large holders by numbers: who began later has the higher one.
    began: BTreeSet<u64>,
    /// Those that wait for room, by their shares' numbers.
    waiting: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    since: Instant,
    /// When it became a large one.
    began: Option<u64>,
    /// That it does not get on is not its peer's fault: it waits for room, or for the engine.
    is_excused: bool,
    waker: Waker,
}

impl Holder {
    fn stands_still(&self, now: Instant) -> bool {
        !self.is_excused && now.duration_since(self.since) >= STALE
    }
}

/// It had to give way to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted;

/// How somebody moves whose bytes are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It has got on since the last time.
    GotOn,
    /// Next to nothing has happened.
    Standing,
    /// It cannot get on, and that is not its peer's fault.
    Excused,
}

/// What one connection holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    number: u64,
    place: Option<Place>,
    is_waiting: bool,
    /// When to look again whether there is room.
    retry: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    is_small: bool,
}

impl Budget {
    /// A budget of `most` bytes; nobody asks for more than `longest` at once.
    pub(crate) fn new(most: usize, longest: usize, meters: BudgetMeters) -> Self {
        Self {
            most: most.max(longest),
            kept: longest,
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
            retry: None,
        }
    }

    #[expect(clippy::cast_precision_loss)] // a budget is far from 2^53
    fn tell(&self, state: &State) {
        self.meters.held.set(state.used as f64);
    }
}

impl Reservation {
    /// Holds so many bytes from now on, in place of what it held. `has_got_on` tells that it has moved on since.
    /// Pending while others have the room: then it goes on holding what it held, and the task is woken to ask again.
    pub(crate) fn poll_hold(
        &mut self,
        bytes: usize,
        has_got_on: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Evicted>> {
        while self.try_hold(bytes, has_got_on, cx.waker())?.is_pending() {
            let retry = self.retry.get_or_insert_with(|| Box::pin(sleep(STALE)));
            ready!(retry.as_mut().poll(cx));
            self.retry = None;
        }
        self.retry = None;
        Poll::Ready(Ok(()))
    }

    /// Pending while others have the room: then it is woken when some is given back.
    fn try_hold(
        &mut self,
        bytes: usize,
        has_got_on: bool,
        waker: &Waker,
    ) -> Result<Poll<()>, Evicted> {
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state.lock();
        let mut holder = self.take(&mut state, waker)?;
        if bytes > SMALL && holder.began.is_none() {
            holder.began = Some(state.next_number());
        }
        let has_room = state.make_room(&budget, bytes, holder.began);
        let got_on = has_got_on || holder.is_excused || holder.bytes == 0;
        if has_room && got_on {
            holder.since = Instant::now();
        }
        if has_room {
            holder.bytes = bytes;
        }
        holder.is_excused = !has_room;
        let number = state.next_number();
        self.place = Some(state.put(holder, number));
        budget.tell(&state);
        if has_room {
            self.stop_waiting(&mut state);
            return Ok(Poll::Ready(()));
        }
        state.waiting.insert(self.number, waker.clone());
        self.is_waiting = true;
        Ok(Poll::Pending)
    }

    /// Holds so many bytes, which are there already: over the budget those give way that got on least recently,
    /// which may be this one.
    pub(crate) fn keep(&mut self, bytes: usize, pace: Pace, waker: &Waker) -> Result<(), Evicted> {
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state.lock();
        let before = self.place;
        let mut holder = self.take(&mut state, waker)?;
        holder.bytes = bytes;
        holder.is_excused = pace == Pace::Excused;
        if bytes <= SMALL
            && !self.is_waiting
            && let Some(began) = holder.began.take()
        {
            state.began.remove(&began);
        }
        let number = match before {
            Some(place) if pace == Pace::Standing => place.number,
            _ => {
                holder.since = Instant::now();
                state.next_number()
            }
        };
        let place = state.put(holder, number);
        self.place = Some(place);
        state.fit(&budget);
        budget.tell(&state);
        match state.of(place.is_small).contains_key(&place.number) {
            true => Ok(()),
            false => Err(Evicted),
        }
    }

    /// What it holds, taken out of its place.
    fn take(&self, state: &mut State, waker: &Waker) -> Result<Holder, Evicted> {
        let Some(place) = self.place else {
            return Ok(Holder {
                bytes: 0,
                since: Instant::now(),
                began: None,
                is_excused: false,
                waker: waker.clone(),
            });
        };
        let mut holder = state.take(place).ok_or(Evicted)?;
        holder.waker.clone_from(waker);
        Ok(holder)
    }

    /// True when it had to give way to others.
    pub(crate) fn is_evicted(&self) -> bool {
        self.place.is_some_and(|place| {
            let state = self.budget.state.lock();
            !state.of(place.is_small).contains_key(&place.number)
        })
    }

    /// True while it waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Holds nothing any more.
    pub(crate) fn release(&mut self) {
        self.retry = None;
        if self.place.is_none() && !self.is_waiting {
            return;
        }
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state.lock();
        if let Some(place) = self.place.take() {
            state.drop_holder(place);
        }
        self.stop_waiting(&mut state);
        budget.tell(&state);
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

    fn put(&mut self, holder: Holder, number: u64) -> Place {
        let place = Place {
            number,
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
    fn make_room(&mut self, budget: &Budget, bytes: usize, began: Option<u64>) -> bool {
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
            self.evict(budget, place);
        }
        true
    }

    /// Has holders give way until all is within the budget.
    fn fit(&mut self, budget: &Budget) {
        while self.used > budget.most {
            let all = [true, false].into_iter();
            let first =
                all.filter_map(|is_small| self.first(is_small, |holder| !holder.is_excused));
            let Some(place) = first.min_by_key(|place| place.number) else {
                return;
            };
            self.evict(budget, place);
        }
    }

    fn evict(&mut self, budget: &Budget, place: Place) {
        if let Some(evicted) = self.drop_holder(place) {
            budget.meters.evicted.increment(1);
            evicted.waker.wake();
        }
    }

    fn oldest_small(&self) -> Option<Place> {
        let (number, _) = self.small.first_key_value()?;
        Some(Place {
            number: *number,
            is_small: true,
        })
    }

    fn one_that_stands_still(&self, now: Instant) -> Option<Place> {
        let all = [true, false].into_iter();
        let still = all.filter_map(|is_small| self.first(is_small, |one| one.stands_still(now)));
        still.min_by_key(|place| place.number)
    }

    /// The one of these that got on least recently.
    fn first(&self, is_small: bool, which: impl Fn(&Holder) -> bool) -> Option<Place> {
        let mut holders = self.of(is_small).iter();
        let (number, _) = holders.find(|(_, holder)| which(holder))?;
        Some(Place {
            number: *number,
            is_small,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::woken::Woken;

    const MIB: usize = 1024 * 1024;
    const LONGEST: usize = 8 * MIB;

    fn budget(most: usize) -> Arc<Budget> {
        of(most, LONGEST + 1)
    }

    fn of(most: usize, longest: usize) -> Arc<Budget> {
        let meters = BudgetMeters {
            held: Gauge::noop(),
            evicted: Counter::noop(),
        };
        Arc::new(Budget::new(most, longest, meters))
    }

    fn keep(share: &mut Reservation, bytes: usize, pace: Pace) -> Result<(), Evicted> {
        share.keep(bytes, pace, Waker::noop())
    }

    fn hold(share: &mut Reservation, bytes: usize) -> Poll<Result<(), Evicted>> {
        share.poll_hold(bytes, true, &mut Context::from_waker(Waker::noop()))
    }

    fn used(budget: &Budget) -> usize {
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
        let budget = of(10 * SMALL, SMALL);
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
        assert_eq!(woken.count(), 1);
        assert!(second.poll_hold(LONGEST, true, cx).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_already_takes_the_place_of_whoever_got_on_least_recently() {
        let budget = budget(20 * MIB);
        let (mut first, mut second) = (budget.share(), budget.share());
        let (mut excused, mut last) = (budget.share(), budget.share());
        keep(&mut excused, 2 * MIB, Pace::Excused).unwrap();
        keep(&mut first, 4 * MIB, Pace::GotOn).unwrap();
        keep(&mut second, 4 * MIB, Pace::GotOn).unwrap();
        keep(&mut first, 3 * MIB, Pace::GotOn).unwrap();
        keep(&mut second, 5 * MIB, Pace::Standing).unwrap();
        keep(&mut last, 12 * MIB, Pace::GotOn).unwrap();
        assert_eq!(used(&budget), 17 * MIB);
        assert!(second.is_evicted());
        assert_eq!(keep(&mut second, MIB, Pace::GotOn), Err(Evicted));
        keep(&mut last, 14 * MIB, Pace::GotOn).unwrap();
        keep(&mut last, 16 * MIB, Pace::GotOn).unwrap();
        assert!(first.is_evicted());
        assert!(!excused.is_evicted());
        assert_eq!(
            keep(&mut last, 19 * MIB, Pace::GotOn),
            Err(Evicted),
            "itself"
        );
        assert_eq!(used(&budget), 2 * MIB);
        drop((first, second, excused, last));
        assert_eq!(used(&budget), 0);
        assert!(budget.state.lock().began.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_down_to_little_is_the_first_large_one_no_longer() {
        let budget = budget(20 * MIB);
        let (mut first, mut second) = (budget.share(), budget.share());
        let mut third = budget.share();
        assert!(hold(&mut first, LONGEST).is_ready());
        assert!(hold(&mut third, 3 * MIB).is_ready());
        assert!(hold(&mut second, LONGEST).is_pending());
        keep(&mut first, SMALL, Pace::GotOn).unwrap();
        third.release();
        assert!(hold(&mut second, LONGEST).is_ready(), "it is the first now");
    }
}
