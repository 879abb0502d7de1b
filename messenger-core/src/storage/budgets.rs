//! Limits that hold for all servers on one store.

use super::StorageError;
use crate::clock::Timestamp;
use crate::policy::Rate;
use async_trait::async_trait;

/// What may be done in a time, counted for all servers on one store: a part of a
/// [`Storage`](super::Storage).
///
/// A budget belongs to a limit and a key. It holds [`Rate::burst`] at the most, and one more in each
/// [`Rate::refilled_in`] divided by that. All there is to keep of it is the moment at which it is whole again (the
/// generic cell rate algorithm): whatever is taken moves that on by such a time each, from now if it is past, and no
/// further than `refilled_in` from now. A budget that is whole need not be kept, and none need outlive a crash.
///
/// # Cancel safety
/// A call that is dropped before it returns may or may not have been done.
///
/// # Examples
/// ```
/// # use messenger_core::async_trait;
/// # use messenger_core::clock::Timestamp;
/// # use messenger_core::policy::Rate;
/// # use messenger_core::storage::{Budgets, SharedLimit, StorageError};
/// # use std::collections::BTreeMap;
/// # use std::sync::Mutex;
/// # use std::time::Duration;
/// /// When each budget is whole again, in microseconds.
/// #[derive(Default)]
/// struct Whole(Mutex<BTreeMap<(SharedLimit, String), u64>>);
///
/// #[async_trait]
/// impl Budgets for Whole {
///     async fn take(&self, limit: SharedLimit, key: &str, count: u32, rate: Rate, now: Timestamp)
///     -> Result<bool, StorageError> {
///         let (now, time) = (now.as_micros(), rate.refilled_in.as_micros() as u64);
///         let mut budgets = self.0.lock().unwrap();
///         let whole = budgets.entry((limit, key.to_owned())).or_insert(now);
///         let next = (*whole).clamp(now, now + time) + u64::from(count) * time / u64::from(rate.burst);
///         let holds = next <= now + time;
///         *whole = if holds { next } else { *whole };
///         Ok(holds)
///     }
/// #   async fn give_back(&self, limit: SharedLimit, key: &str, rate: Rate) -> Result<(), StorageError> {
/// #       if let Some(whole) = self.0.lock().unwrap().get_mut(&(limit, key.to_owned())) {
/// #           *whole = whole.saturating_sub(rate.refilled_in.as_micros() as u64 / u64::from(rate.burst));
/// #       }
/// #       Ok(())
/// #   }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (budgets, now) = (Whole::default(), Timestamp::from_micros(1_700_000_000_000_000));
/// let two_a_minute = Rate::new(2, Duration::from_secs(60));
/// assert!(budgets.take(SharedLimit::Import, "ann", 2, two_a_minute, now).await?);
/// assert!(!budgets.take(SharedLimit::Import, "ann", 1, two_a_minute, now).await?);
/// # budgets.give_back(SharedLimit::Import, "ann", two_a_minute).await?;
/// # assert!(budgets.take(SharedLimit::Import, "ann", 1, two_a_minute, now).await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Budgets: Send + Sync {
    /// Takes so many, or none. False when the budget holds fewer.
    async fn take(
        &self,
        limit: SharedLimit,
        key: &str,
        count: u32,
        rate: Rate,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// As if one had not been taken.
    async fn give_back(
        &self,
        limit: SharedLimit,
        key: &str,
        rate: Rate,
    ) -> Result<(), StorageError>;
}

/// Which limits hold for all servers together. Those of an address and of messages hold for each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SharedLimit {
    /// Failed attempts to authenticate, by login.
    FailedAuthLogin,
    /// Entries imported, by user.
    Import,
}
