//! Notices that wait to be sent, in bounded memory.

use crate::frame::FRAME;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// The most bytes that wait, but for one notice alone, which always may. What does not fit is dropped, and the
/// others see that something is missing.
const WAITING: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Something was dropped since notices were taken.
    dropped: bool,
}

/// What is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) notices: Vec<Vec<u8>>,
    /// Something is missing that ought to have been before, or among, or behind them.
    pub(crate) dropped: bool,
}

impl Next {
    pub(crate) const NOTHING: Self = Self {
        notices: Vec::new(),
        dropped: false,
    };
}

impl Outbox {
    /// False when it is dropped.
    pub(crate) fn push(&self, notice: Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock();
        let fits = waiting.notices.is_empty() || waiting.bytes + notice.len() <= WAITING;
        if fits {
            waiting.bytes += notice.len();
            waiting.notices.push_back(notice);
        } else {
            waiting.dropped = true;
        }
        drop(waiting);
        self.filled.notify_one();
        fits
    }

    /// Waits until there is something.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// As many notices as a frame has, or one that is larger; `None` when there are none.
    pub(crate) fn take(&self) -> Option<Next> {
        let mut waiting = self.waiting.lock();
        let (mut notices, mut bytes) = (Vec::new(), 0);
        while let Some(notice) = waiting.notices.front() {
            bytes += notice.len();
            if !notices.is_empty() && bytes > FRAME {
                break;
            }
            waiting.bytes -= notice.len();
            notices.extend(waiting.notices.pop_front());
        }
        let dropped = std::mem::take(&mut waiting.dropped);
        (dropped || !notices.is_empty()).then_some(Next { notices, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(outbox: &Outbox) -> Vec<(usize, bool)> {
        std::iter::from_fn(|| outbox.take())
            .map(|next| (next.notices.len(), next.dropped))
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_told() {
        let outbox = Outbox::default();
        assert!(outbox.push(vec![0; 2 * WAITING]), "one alone always fits");
        assert!(!outbox.push(vec![0; 1]));
        assert_eq!(taken(&outbox), [(1, true)]);
        assert!(outbox.push(vec![0; 1]));
        assert_eq!(taken(&outbox), [(1, false)]);
    }

    #[test]
    fn a_frame_has_as_many_as_it_holds() {
        let outbox = Outbox::default();
        for _ in 0..3 {
            outbox.push(vec![0; FRAME / 2]);
        }
        outbox.push(vec![0; FRAME + 1]);
        assert_eq!(taken(&outbox), [(2, false), (1, false), (1, false)]);
    }
}
