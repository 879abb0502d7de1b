//! Numbers that only grow, and the list of those that have grown and are not stored yet.
//!
//! Only what `crate::sync` has is used here, so that `tests/watermark.rs` can try every order in which threads may
//! carry out these steps.

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// The bit that says that a watermark is on its list; the number is above it.
const LISTED: u64 = 1;

/// The largest number.
const MOST: u64 = u64::MAX >> 1;

/// A number that only grows, of 63 bits, and whether it is listed: one atomic, so that all threads agree on the
/// order of everything that happens to it.
#[derive(Debug)]
pub(crate) struct AtomicWatermark(AtomicU64);

/// Those whose watermark was raised since they were [taken](Self::take) last.
///
/// **When [`raise`](Self::raise) has returned, that number is stored by the next who takes it if it is listed and
/// then stores what it [reads](AtomicWatermark::get)**, unless it was stored before; also when somebody else had raised
/// it as high. This needs that those who store one number go one after the other, and [list again](Self::list) what they took and
/// could not store. It holds because
///
/// - a number is raised only while its bit is set, or together with it; so whoever finds it raised is behind the one who
///   has set the bit,
/// - the bit is set, and the list added to, under the list's lock; so whoever takes the list after that finds the
///   entry there, or is behind somebody who took it,
/// - the bit is cleared before the number is read; so a number that is raised too late for being read is listed again.
#[derive(Debug)]
pub(crate) struct Raised<T> {
    listed: Mutex<Vec<Arc<T>>>,
    watermark: fn(&T) -> &AtomicWatermark,
}

/// What raising a watermark has changed.
#[derive(Debug)]
pub(crate) struct Raise {
    /// The number before.
    pub(crate) before: u64,
    /// It was not listed before.
    pub(crate) is_new: bool,
}

impl Raise {
    fn from(before: u64) -> Self {
        Self {
            before: before >> 1,
            is_new: before & LISTED == 0,
        }
    }
}

impl AtomicWatermark {
    pub(crate) fn new(number: u64) -> Self {
        Self(AtomicU64::new(number.min(MOST) << 1))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire) >> 1
    }

    /// Changes it in one step. What it was before; if it is not to be changed, what it is.
    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }
}

impl<T> Raised<T> {
    /// None yet. `watermark` is the one that is meant.
    pub(crate) fn new(watermark: fn(&T) -> &AtomicWatermark) -> Self {
        Self {
            listed: Mutex::new(Vec::new()),
            watermark,
        }
    }

    /// Raises the watermark and lists whose it is; `None` when it was as high already.
    #[inline]
    pub(crate) fn raise(&self, of: &Arc<T>, to: u64) -> Option<Raise> {
        let to = to.min(MOST);
        let raised = to << 1 | LISTED;
        let is_lower = |state: u64| state >> 1 < to;
        let watermark = (self.watermark)(of);
        match watermark.update(|now| (is_lower(now) && now & LISTED != 0).then_some(raised)) {
            Ok(before) => return Some(Raise::from(before)),
            Err(now) if !is_lower(now) => return None,
            Err(_) => {}
        }
        let mut listed = self.listed.lock();
        let before = watermark.update(|now| is_lower(now).then_some(raised));
        let raise = Raise::from(before.ok()?);
        if raise.is_new {
            listed.push(Arc::clone(of));
        }
        Some(raise)
    }

    /// Lists one whose number could not be stored, unless it is listed.
    pub(crate) fn list(&self, of: &Arc<T>) {
        let mut listed = self.listed.lock();
        let before = (self.watermark)(of).0.fetch_or(LISTED, Ordering::AcqRel);
        if before & LISTED == 0 {
            listed.push(Arc::clone(of));
        }
    }

    /// Takes those listed that are wanted. Their numbers are to be read after that.
    pub(crate) fn take(&self, is_wanted: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut listed = self.listed.lock();
        let taken: Vec<_> = listed.extract_if(.., |of| is_wanted(of)).collect();
        if listed.is_empty() {
            *listed = Vec::new();
        }
        drop(listed);
        for of in &taken {
            (self.watermark)(of).0.fetch_and(!LISTED, Ordering::AcqRel);
        }
        taken
    }
}
