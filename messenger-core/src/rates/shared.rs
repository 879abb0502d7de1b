//! A limit that holds for all servers on one store, if the store can count; otherwise it is this one's own.

use super::limiter::{Held, Limiter};
use crate::policy::Rate;
use crate::storage::{SharedLimit, StorageError};
use crate::timed_storage::TimedStorage;

/// Allows each key so much at once, and so much in a time.
#[derive(Debug)]
pub(super) struct SharedLimiter {
    pub(super) limit: SharedLimit,
    pub(super) rate: Rate,
    /// Counts when the store does not.
    pub(super) own: Limiter,
}

/// What was taken, and may yet be given back.
#[must_use]
pub(super) enum Taken<'a> {
    Here(Held<'a>),
    InStore {
        limiter: &'a SharedLimiter,
        storage: &'a TimedStorage,
        key: &'a str,
    },
}

impl SharedLimiter {
    /// Takes so many, or none.
    pub(super) async fn take<'a>(
        &'a self,
        storage: &'a TimedStorage,
        key: &'a str,
        count: usize,
    ) -> Result<Option<Taken<'a>>, StorageError> {
        if !storage.has_budgets() {
            return Ok(self.own.take(&key, count).map(Taken::Here));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let now = self.own.now();
        let is_allowed = storage.take(self.limit, key, count, self.rate, now).await?;
        Ok(is_allowed.then_some(Taken::InStore {
            limiter: self,
            storage,
            key,
        }))
    }

    /// Forgets keys whose budget is whole again.
    pub(super) fn forget_idle(&self) {
        self.own.forget_idle();
    }
}

impl Taken<'_> {
    /// As if one had not been taken.
    pub(super) async fn give_back(self) {
        let (limiter, storage, key) = match self {
            Self::Here(held) => return held.give_back(),
            Self::InStore {
                limiter,
                storage,
                key,
            } => (limiter, storage, key),
        };
        let given = storage.give_back(limiter.limit, key, limiter.rate).await;
        if let Err(error) = given {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what counts as a failed attempt was none; it is forgotten with time"
            );
        }
    }
}
