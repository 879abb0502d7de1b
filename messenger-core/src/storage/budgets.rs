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
