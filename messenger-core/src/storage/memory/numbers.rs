//! Users' numbers, and whose users are gone.

use crate::storage::UserNumber;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Enough for every number there is: a bit of 2^64, in parts of 1, 2, 4, … words.
const PARTS: usize = 59;

/// Gives numbers, and remembers in a bit each which were given to users who are gone: every append asks, and must
/// not wait for it.
///
/// Bits are in parts, each twice as large as the one before, that come into being when somebody is deleted. So they
/// take at most a bit for each user there ever was, and never move.
pub(super) struct Numbers {
    next: AtomicU64,
    gone: [OnceLock<Box<[AtomicU64]>>; PARTS],
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(1),
            gone: [const { OnceLock::new() }; PARTS],
        }
    }
}

impl Numbers {
    /// A number that nobody has had.
    pub(super) fn next(&self) -> UserNumber {
        UserNumber(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn mark_gone(&self, user: UserNumber) {
        let Place { part, word, bit } = Place::of(user);
        let Some(words) = self.gone.get(part) else {
            return;
        };
        let words = words.get_or_init(|| (0..1_u64 << part).map(|_| AtomicU64::new(0)).collect());
        if let Some(word) = words.get(word) {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    #[inline]
    pub(super) fn is_gone(&self, user: UserNumber) -> bool {
        let Place { part, word, bit } = Place::of(user);
        let words = self.gone.get(part).and_then(OnceLock::get);
        let word = words.and_then(|words| words.get(word));
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit != 0)
    }
}

/// Where a user's bit is.
struct Place {
    part: usize,
    word: usize,
    bit: u64,
}

impl Place {
    #[inline]
    fn of(UserNumber(number): UserNumber) -> Self {
        let word = number / u64::from(u64::BITS) + 1;
        let part = word.ilog2();
        Self {
            part: part as usize,
            word: usize::try_from(word - (1 << part)).unwrap_or(usize::MAX),
            bit: 1 << (number % u64::from(u64::BITS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_gone_by_itself() {
        let numbers = Numbers::default();
        let all: Vec<_> = (0..1000).map(|_| numbers.next()).collect();
        let is_marked = |UserNumber(number): &UserNumber| number % 3 == 0;
        for number in all.iter().filter(|number| is_marked(number)) {
            numbers.mark_gone(*number);
        }
        for number in &all {
            assert_eq!(numbers.is_gone(*number), is_marked(number), "{number:?}");
        }
        assert!(!numbers.is_gone(UserNumber(u64::MAX)));
    }
}
