//! Limits that hold for all servers together.

use super::PostgresStorage;
use crate::params::Params;
use crate::row::Columns;
use async_trait::async_trait;
use messenger_core::clock::Timestamp;
use messenger_core::policy::Rate;
use messenger_core::storage::{Budgets, SharedLimit, StorageError};

#[async_trait]
impl Budgets for PostgresStorage {
    async fn take(
        &self,
        limit: SharedLimit,
        key: &str,
        count: u32,
        rate: Rate,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let params = Params::new()
            .small(kind(limit)?)
            .text(key)
            .number(cost_us(rate).saturating_mul(count.into()))
            .number(period_us(rate))
            .time(now);
        let take = "SELECT take_v1($1, $2, $3, $4, $5)";
        let answer = self.calls.write(take, params).await?;
        let taken = answer.first().map(|row| row.value(0)).transpose()?;
        Ok(taken.unwrap_or(false))
    }

    async fn give_back(
        &self,
        limit: SharedLimit,
        key: &str,
        rate: Rate,
    ) -> Result<(), StorageError> {
        let params = Params::new()
            .small(kind(limit)?)
            .text(key)
            .number(cost_us(rate));
        let give = "UPDATE budgets SET full_us = full_us - $3 WHERE kind = $1 AND key = $2";
        self.calls.write(give, params).await.map(drop)
    }
}

fn kind(limit: SharedLimit) -> Result<i16, StorageError> {
    match limit {
        SharedLimit::FailedAuthLogin => Ok(0),
        SharedLimit::Import => Ok(1),
        other => Err(StorageError::new(format!("{other:?} is not counted here"))),
    }
}

/// The longest time in which a budget is whole again: sums of such times are no larger than PostgreSQL's numbers.
const LONGEST_US: u64 = 1 << 60;

fn period_us(rate: Rate) -> u64 {
    let micros = u64::try_from(rate.refilled_in.as_micros());
    micros.unwrap_or(LONGEST_US).min(LONGEST_US)
}

/// The time in which one more is allowed.
fn cost_us(rate: Rate) -> u64 {
    period_us(rate) / u64::from(rate.burst.max(1))
}
