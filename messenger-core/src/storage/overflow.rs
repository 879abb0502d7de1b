//! Which messages leave an inbox that is over its limit.

use std::collections::HashMap;
use std::hash::Hash;

/// At least a sixteenth of what may leave does, so that a full inbox is not gone through for every message.
const MORE: u64 = 16;

/// Which messages leave an inbox that is over its limit: those of the sender who has most there, oldest first, so
/// that whoever floods an inbox pushes out nothing but their own.
///
/// It chooses among the messages that may leave. Each has a weight: 1 where there are too many, its size where they
/// are too large.
///
/// ```
/// use messenger_core::storage::Overflow;
///
/// let kept = ["friend", "stranger", "stranger", "stranger"];
/// let mut overflow = Overflow::new(kept.map(|sender| (sender, 1)), 2);
/// let left = kept.map(|sender| overflow.takes(&sender, 1));
/// assert_eq!(left, [false, true, true, false]);
/// ```
#[derive(Debug)]
pub struct Overflow<S> {
    /// What each sender has above what every sender may keep.
    above: HashMap<S, u64>,
    /// What is still to leave.
    excess: u64,
}

impl<S: Eq + Hash> Overflow<S> {
    /// Chooses among these messages, told by sender and weight, so that `excess` leaves, if they have as much.
    pub fn new(messages: impl IntoIterator<Item = (S, u64)>, excess: u64) -> Self {
        let mut of_senders = HashMap::<S, u64>::new();
        for (sender, weight) in messages {
            *of_senders.entry(sender).or_default() += weight;
        }
        let all: u64 = of_senders.values().sum();
        let excess = excess.max(all / MORE);
        let level = level(of_senders.values().copied().collect(), excess);
        for of_sender in of_senders.values_mut() {
            *of_sender = of_sender.saturating_sub(level);
        }
        Self {
            above: of_senders,
            excess,
        }
    }

    /// Whether the message leaves. To be asked of the messages that it chooses among, the oldest first.
    pub fn takes(&mut self, sender: &S, weight: u64) -> bool {
        let Some(above) = self.above.get_mut(sender).filter(|above| **above > 0) else {
            return false;
        };
        if self.excess == 0 {
            return false;
        }
        *above = above.saturating_sub(weight);
        self.excess = self.excess.saturating_sub(weight);
        true
    }
}

/// How much every sender may keep, so that what is above it comes to the excess.
fn level(mut of_senders: Vec<u64>, excess: u64) -> u64 {
    of_senders.sort_unstable_by(|one, other| other.cmp(one));
    let mut largest = of_senders.iter().copied().peekable();
    let (mut sum, mut count) = (0, 0);
    while let Some(of_sender) = largest.next() {
        sum += of_sender;
        count += 1;
        let next = largest.peek().copied().unwrap_or(0);
        if sum - count * next >= excess {
            return (sum - excess) / count;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of so many messages of each sender, when so much is over.
    fn left(of_senders: &[usize], excess: u64) -> Vec<usize> {
        let senders = of_senders.iter().enumerate();
        let messages: Vec<_> = senders
            .flat_map(|(sender, count)| std::iter::repeat_n(sender, *count))
            .collect();
        let mut overflow = Overflow::new(messages.iter().map(|sender| (*sender, 1)), excess);
        let mut left = of_senders.to_vec();
        for sender in messages {
            if overflow.takes(&sender, 1) {
                left[sender] -= 1;
            }
        }
        left
    }

    #[test]
    fn whoever_has_most_loses_most() {
        assert_eq!(left(&[1, 8], 1), [1, 7]);
        assert_eq!(left(&[5, 8], 3), [5, 5]);
        assert_eq!(left(&[5, 8], 4), [4, 5], "the oldest of equals");
        assert_eq!(left(&[3, 1, 5], 5), [1, 1, 2]);
        assert_eq!(left(&[1, 1], 5), [0, 0]);
        assert!(left(&[], 5).is_empty());
    }

    #[test]
    fn a_sixteenth_leaves_at_once() {
        assert_eq!(left(&[10, 10_000], 1), [10, 10_000 - 625]);
        assert_eq!(left(&[1; 320], 1).iter().sum::<usize>(), 300);
    }

    #[test]
    fn a_large_message_makes_room_for_small_ones() {
        let messages = [("friend", 10), ("stranger", 900), ("stranger", 10)];
        let mut overflow = Overflow::new(messages, 20);
        let taken = messages.map(|(sender, weight)| overflow.takes(&sender, weight));
        assert_eq!(taken, [false, true, false]);
    }
}
