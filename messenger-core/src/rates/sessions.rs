//! The limits of what one session sends, kept where the session is.
//!
//! Messages and their bytes are counted in an atomic number each of the session's own, which all connections of the
//! session share. Only a connection that begins looks for them among all others.

use super::quota::Quota;
use super::{KEYS, TooMany};
use crate::clock::Timestamp;
use crate::meters;
use crate::policy::Rate;
use crate::storage::SessionKey;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Allows each session so many messages and bytes at once, and so many in a time.
#[derive(Debug)]
pub(super) struct SessionLimiter {
    messages: Limit,
    bytes: Limit,
    /// Those of sessions that have a connection, and of others until they are whole again: whoever reconnects
    /// must not have a new one.
    budgets: Mutex<HashMap<SessionKey, Arc<Budget>>>,
}

/// How much of one kind is allowed.
#[derive(Debug)]
struct Limit {
    reason: &'static str,
    quota: Quota,
    hits: metrics::Counter,
}

/// What a session may still send.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    messages: Left,
    bytes: Left,
}

/// What is left of one kind: see [`Quota`].
#[derive(Debug, Default)]
struct Left(AtomicU64);

impl Left {
    #[inline]
    fn update<T>(&self, mut change: impl FnMut(&mut u64) -> T) -> T {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let mut whole_at = before;
            let outcome = change(&mut whole_at);
            let swapped = self.0.compare_exchange_weak(
                before,
                whole_at,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return outcome,
                Err(now) => before = now,
            }
        }
    }
}

impl Limit {
    /// `name` is what its hits are counted under, `reason` what a client is told.
    fn new(name: &'static str, reason: &'static str, rate: Rate) -> Self {
        Self {
            reason,
            quota: Quota::new(rate),
            hits: meters::limit(name),
        }
    }

    /// Takes so many, or all there may be at once when it is more than that.
    #[inline]
    fn take(&self, left: &Left, now: Timestamp, count: u64) -> Result<(), TooMany> {
        let count = count.min(self.quota.burst());
        if left.update(|whole_at| self.quota.take(whole_at, now, count)) {
            return Ok(());
        }
        self.hits.increment(1);
        Err(TooMany(self.reason))
    }

    fn is_whole(&self, left: &Left, now: Timestamp) -> bool {
        left.update(|whole_at| self.quota.is_whole(whole_at, now))
    }

    fn none_left(&self, now: Timestamp) -> Left {
        Left(AtomicU64::new(self.quota.if_empty(now)))
    }
}

impl SessionLimiter {
    pub(super) fn new(messages: Rate, bytes: Rate) -> Self {
        Self {
            messages: Limit::new("messages", "Too many messages, try later", messages),
            bytes: Limit::new(
                "message_bytes",
                "Too many bytes in messages, try later",
                bytes,
            ),
            budgets: Mutex::default(),
        }
    }

    /// The budget of a session that has a connection now.
    ///
    /// When there are too many it begins empty, and is this connection's alone: whatever was forgotten, it gives
    /// nobody more than the rate.
    pub(super) fn budget(&self, session: &SessionKey, now: Timestamp) -> Arc<Budget> {
        let mut budgets = self.budgets.lock();
        if budgets.len() >= KEYS && !budgets.contains_key(session) {
            return Arc::new(Budget {
                messages: self.messages.none_left(now),
                bytes: self.bytes.none_left(now),
            });
        }
        Arc::clone(budgets.entry(*session).or_default())
    }

    /// Takes one message of so many bytes, or nothing.
    #[inline]
    pub(super) fn take(
        &self,
        budget: &Budget,
        bytes: usize,
        now: Timestamp,
    ) -> Result<(), TooMany> {
        self.messages.take(&budget.messages, now, 1)?;
        let taken = self.bytes.take(&budget.bytes, now, bytes as u64);
        if taken.is_err() {
            let quota = self.messages.quota;
            budget.messages.update(|whole_at| quota.give_back(whole_at));
        }
        taken
    }

    /// Forgets sessions that have no connection, and whose budget is whole again.
    pub(super) fn forget_idle(&self, now: Timestamp) {
        let mut budgets = self.budgets.lock();
        budgets.retain(|_, budget| {
            let is_connected = Arc::strong_count(budget) > 1;
            let is_whole = self.messages.is_whole(&budget.messages, now)
                && self.bytes.is_whole(&budget.bytes, now);
            is_connected || !is_whole
        });
        budgets.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BEGIN: Timestamp = Timestamp::from_micros(0);
    const REFILLED: Timestamp = Timestamp::from_micros(60_000_000);

    fn a_minute(messages: u32, bytes: u32) -> SessionLimiter {
        let rate = |burst| Rate::new(burst, Duration::from_secs(60));
        SessionLimiter::new(rate(messages), rate(bytes))
    }

    fn one_a_minute() -> SessionLimiter {
        a_minute(1, 1)
    }

    fn session(number: usize) -> SessionKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        SessionKey(key)
    }

    #[test]
    fn a_budget_is_forgotten_when_it_is_whole_and_nobody_has_it() {
        let limiter = one_a_minute();
        let connected = limiter.budget(&session(0), BEGIN);
        limiter
            .take(&limiter.budget(&session(1), BEGIN), 1, BEGIN)
            .unwrap();
        let _ = limiter.budget(&session(2), BEGIN);
        limiter.forget_idle(BEGIN);
        assert_eq!(limiter.budgets.lock().len(), 2, "one was whole");
        let again = limiter.budget(&session(1), BEGIN);
        assert!(limiter.take(&again, 1, BEGIN).is_err(), "it is the same");
        drop(again);
        limiter.forget_idle(REFILLED);
        assert_eq!(limiter.budgets.lock().len(), 1, "one is connected");
        limiter.take(&connected, 1, REFILLED).unwrap();
        let other = limiter.budget(&session(0), REFILLED);
        assert!(limiter.take(&other, 1, REFILLED).is_err(), "it is shared");
    }

    #[test]
    fn over_the_most_that_are_kept_a_session_begins_with_nothing() {
        let limiter = one_a_minute();
        for number in 0..KEYS {
            let budget = limiter.budget(&session(number), BEGIN);
            limiter.take(&budget, 1, BEGIN).unwrap();
        }
        let late = limiter.budget(&session(KEYS), BEGIN);
        assert_eq!(limiter.budgets.lock().len(), KEYS);
        assert!(limiter.take(&late, 1, BEGIN).is_err());
        limiter.take(&late, 1, REFILLED).unwrap();
        limiter.forget_idle(REFILLED);
        assert_eq!(limiter.budgets.lock().len(), 0);
    }

    #[test]
    fn connections_at_once_take_no_more_than_there_is() {
        let limiter = a_minute(1000, 10_000);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let budget = limiter.budget(&session(0), BEGIN);
                    while limiter.take(&budget, 1, BEGIN).is_ok() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    }

    #[test]
    fn bytes_are_counted_beside_messages_and_what_is_refused_costs_nothing() {
        let limiter = a_minute(3, 60);
        let budget = limiter.budget(&session(0), BEGIN);
        limiter.take(&budget, 50, BEGIN).unwrap();
        assert!(limiter.take(&budget, 11, BEGIN).is_err());
        limiter.take(&budget, 10, BEGIN).unwrap();
        let later = Timestamp::from_micros(10_000_000);
        limiter.take(&budget, 10, later).unwrap();
        assert!(limiter.take(&budget, 0, later).is_err(), "three messages");
        // Or it could never be sent.
        limiter
            .take(&budget, 1000, REFILLED.after(Duration::from_secs(10)))
            .unwrap();
        let empty = limiter.take(&budget, 1, REFILLED.after(Duration::from_secs(10)));
        assert!(empty.is_err());
    }
}
