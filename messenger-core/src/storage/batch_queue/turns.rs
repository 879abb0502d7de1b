//! Calls that wait, whose keys take turns.

use super::{QueueLimits, Waiting};
use std::collections::{HashMap, VecDeque};

/// Calls that wait, by their keys.
pub(super) struct Turns<C, T, E> {
    calls: HashMap<u64, VecDeque<Waiting<C, T, E>>>,
    /// The keys that have calls, each once, in the order of their turns.
    keys: VecDeque<u64>,
}

impl<C, T, E> Default for Turns<C, T, E> {
    fn default() -> Self {
        Self {
            calls: HashMap::new(),
            keys: VecDeque::new(),
        }
    }
}

impl<C, T, E> Turns<C, T, E> {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Puts a call behind all others of its key.
    pub(super) fn push_back(&mut self, waiting: Waiting<C, T, E>) {
        self.calls_of(waiting.ticket.key).push_back(waiting);
    }

    /// Puts a call before all others of its key.
    pub(super) fn push_front(&mut self, waiting: Waiting<C, T, E>) {
        self.calls_of(waiting.ticket.key).push_front(waiting);
    }

    fn calls_of(&mut self, key: u64) -> &mut VecDeque<Waiting<C, T, E>> {
        self.calls.entry(key).or_insert_with(|| {
            self.keys.push_back(key);
            VecDeque::new()
        })
    }

    /// Takes the next batch: a share for each key in its turn, as long as there is room. A key that finds no room for its
    /// share has the first turn in the batch after it.
    pub(super) fn take_batch(&mut self, limits: &QueueLimits) -> Vec<Waiting<C, T, E>> {
        let mut batch = Vec::new();
        let mut room = Room::of_batch(limits);
        for _ in 0..self.keys.len() {
            let Some(key) = self.keys.pop_front() else {
                break;
            };
            let Some(calls) = self.calls.get_mut(&key) else {
                continue;
            };
            let mut share = Room::of_share(limits);
            while let Some(bytes) = calls.front().map(|next| next.ticket.bytes) {
                if !room.is_enough_for(bytes) {
                    self.keys.push_front(key);
                    return batch;
                }
                if !share.is_enough_for(bytes) {
                    break;
                }
                room.give(bytes);
                share.give(bytes);
                batch.extend(calls.pop_front());
            }
            match calls.is_empty() {
                true => drop(self.calls.remove(&key)),
                false => self.keys.push_back(key),
            }
        }
        batch
    }
}

/// What may still be taken.
struct Room {
    /// One call always may be.
    is_whole: bool,
    calls: usize,
    bytes: usize,
}

impl Room {
    fn of_batch(limits: &QueueLimits) -> Self {
        Self {
            is_whole: true,
            calls: limits.batch_calls,
            bytes: limits.batch_bytes,
        }
    }

    fn of_share(limits: &QueueLimits) -> Self {
        let shares = limits.batch_shares.max(1);
        Self {
            is_whole: true,
            calls: limits.batch_calls / shares,
            bytes: limits.batch_bytes / shares,
        }
    }

    fn is_enough_for(&self, bytes: usize) -> bool {
        self.is_whole || (self.calls > 0 && bytes <= self.bytes)
    }

    fn give(&mut self, bytes: usize) {
        self.is_whole = false;
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
