//! The engine's time: a clock that jumps is not believed at once.
//!
//! What is out of date is dropped for good, so a machine's clock that stands in another year for a minute must not
//! decide what is. The engine counts time by the steady clock, and compares it with the machine's once a second.
//! While both move alike nothing differs. When the machine's jumps, the engine goes on by its own time, and believes the
//! other once that has moved alike with the steady clock for a day. An operator who knows better restarts the server.
//!
//! After a start there is no time of its own yet: it goes by the machine's clock, wherever that jumps, but takes nothing
//! for out of date until that has stood the same test for an hour (or for a day, when it has jumped ahead, or is far
//! ahead of what the store has seen).

use crate::clock::{Clock, Timestamp};
use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Clocks that part by more than this between two looks have jumped, in microseconds.
const JUMP: i64 = 60 * 1_000_000;

/// How long the machine's clock must move alike with the steady one after a start.
const AFTER_START: Duration = Duration::from_secs(60 * 60);

/// The same after it has jumped.
const AFTER_JUMP: Duration = Duration::from_secs(24 * 60 * 60);

/// A start so far ahead of the last use of any session counts as a jump.
const FAR_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// See above.
#[derive(Debug)]
pub(crate) struct TrustedClock {
    clock: Arc<dyn Clock>,
    /// The engine's time less the steady clock's, in microseconds.
    ahead: AtomicI64,
    /// The engine has a time of its own, by which something may be out of date.
    is_settled: AtomicBool,
    machine: Mutex<Machine>,
    jumps: Counter,
    /// How far the machine's clock is ahead of the engine's time, in seconds.
    differs: Gauge,
}

/// The machine's clock.
#[derive(Debug)]
struct Machine {
    /// As it was seen last, less the steady clock, in microseconds.
    ahead: i64,
    /// Since when, by the steady clock, it has moved alike with that.
    alike_since: Duration,
    /// How long it must.
    alike_for: Duration,
}

impl TrustedClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let steady = clock.steady();
        let ahead = micros(clock.now().as_micros()) - micros(steady.as_micros());
        Self {
            clock,
            ahead: AtomicI64::new(ahead),
            is_settled: AtomicBool::new(false),
            machine: Mutex::new(Machine {
                ahead,
                alike_since: steady,
                alike_for: AFTER_START,
            }),
            jumps: counter!("messenger_clock_jumps_total"),
            differs: gauge!("messenger_clock_differs_seconds"),
        }
    }

    /// Compares the machine's clock with the steady one, and follows it if it is believed.
    pub(crate) fn follow(&self) {
        let mut machine = self.machine.lock();
        let steady = self.clock.steady();
        let ahead = micros(self.clock.now().as_micros()) - micros(steady.as_micros());
        let own = self.ahead.load(Ordering::Relaxed);
        let is_settled = self.is_settled.load(Ordering::Relaxed);
        let jumped = ahead - machine.ahead;
        machine.ahead = ahead;
        if jumped.abs() > JUMP {
            machine.alike_since = steady;
            machine.alike_for = match is_settled {
                // It is back where the engine's own time is.
                true if (ahead - own).abs() <= JUMP => Duration::ZERO,
                false if jumped < 0 => AFTER_START,
                _ => AFTER_JUMP,
            };
            self.tell(jumped, is_settled);
        }
        let is_alike = steady.saturating_sub(machine.alike_since) >= machine.alike_for;
        if is_alike || !is_settled {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        if is_alike {
            self.is_settled.store(true, Ordering::Relaxed);
        }
        let differs = ahead - self.ahead.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss)] // a gauge
        self.differs.set((differs / 1_000_000) as f64);
    }

    /// What the store has seen last. A clock that starts far ahead of that is tested for as long as after a jump.
    pub(crate) fn compare_with(&self, latest: Timestamp) {
        let mut machine = self.machine.lock();
        let is_settled = self.is_settled.load(Ordering::Relaxed);
        if !is_settled && self.now().since(latest) > FAR_AHEAD {
            machine.alike_for = AFTER_JUMP;
            tracing::info!(
                "the store was last used more than a day ago, by the machine's clock; nothing is taken for out of date before that has run for a day"
            );
        }
    }

    /// What is older than this moment is out of date: a lifetime ago, or nothing as long as there is no time to go by.
    pub(crate) fn out_of_date(&self, lifetime: Duration) -> Timestamp {
        match self.is_settled.load(Ordering::Relaxed) {
            true => self.now().before(lifetime),
            false => Timestamp::default(),
        }
    }

    /// True when there is a time by which something may be out of date; from then on there always is.
    pub(crate) fn is_settled(&self) -> bool {
        if !self.is_settled.load(Ordering::Relaxed) {
            self.follow();
        }
        self.is_settled.load(Ordering::Relaxed)
    }

    fn tell(&self, jumped: i64, is_settled: bool) {
        self.jumps.increment(1);
        let seconds = jumped / 1_000_000;
        if is_settled {
            tracing::warn!(
                seconds,
                "the machine's clock has jumped; the engine goes on by its own time until the clock is back, or has run on for a day (a restart believes it earlier)"
            );
        } else {
            tracing::warn!(
                seconds,
                "the machine's clock has jumped; nothing is taken for out of date until it has run on for some time"
            );
        }
    }
}

impl TrustedClock {
    /// The steady clock's reading at a moment that was `now`: what is counted in a time has nothing to do with the year.
    #[inline]
    pub(crate) fn steady_at(&self, now: Timestamp) -> Timestamp {
        let steady = micros(now.as_micros()) - self.ahead.load(Ordering::Relaxed);
        Timestamp::from_micros(u64::try_from(steady).unwrap_or(0))
    }
}

/// The steady clock, for what is counted in a time.
#[derive(Debug)]
pub(crate) struct Steady(pub(crate) Arc<dyn Clock>);

impl Clock for Steady {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.0.steady())
    }
}

impl Clock for TrustedClock {
    #[inline]
    fn now(&self) -> Timestamp {
        let steady = micros(self.clock.steady().as_micros());
        let now = steady.saturating_add(self.ahead.load(Ordering::Relaxed));
        Timestamp::from_micros(u64::try_from(now).unwrap_or(0))
    }

    fn steady(&self) -> Duration {
        self.clock.steady()
    }
}

fn micros(micros: impl TryInto<i64>) -> i64 {
    // Some 146 thousand years, so that differences stay in range.
    micros.try_into().unwrap_or(i64::MAX).min(i64::MAX / 2)
}
