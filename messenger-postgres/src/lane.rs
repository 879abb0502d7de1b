//! Lanes, on which messages go to the database in batches, one after the other.
//!
//! What comes while a batch is under way is the next one. A lane numbers its batches, and the database keeps the number
//! of its last one and what that came to: a batch whose answer was lost is sent again under its number, and is
//! appended once, though the first attempt may still be under way. When its time is over it is not known whether it was
//! appended; with the batch after it is certain that it never will be, so that nothing is overtaken.

use crate::batch::{APPEND, Batch, Outcome};
use crate::calls::{self, Answer, CALL_TIMEOUT, Failure};
use crate::error::CallError;
use crate::link::{Link, Servers};
use crate::meters;
use crate::params::Params;
use crate::restored::{self, LostUpTo};
use messenger_core::storage::{
    AppendError, Appended, BatchQueue, NewMessage, QueueLimits, StorageError,
};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::Instant;

/// A message that has waited so long that there is less left for the database is not sent any more.
const LEAST_LEFT: Duration = Duration::from_millis(500);

/// How much waits in a lane, and how much goes at once.
fn limits() -> QueueLimits {
    let mut limits = QueueLimits::default();
    limits.calls = 50_000;
    limits.bytes = 64 * 1024 * 1024;
    limits.batch_calls = 512;
    limits.batch_bytes = 1024 * 1024;
    limits
}

type Outcomes = Vec<Result<Appended, AppendError>>;

/// A message that waits, and since when.
struct Waiting {
    new: NewMessage,
    since: Instant,
}

/// Takes messages, and appends them in their order.
pub(crate) struct Lane {
    queue: BatchQueue<Waiting, Appended, AppendError>,
    row: Arc<LaneRow>,
}

/// What the database has of a lane, by which it is noticed when the database has lost something.
#[derive(Debug)]
pub(crate) struct LaneRow {
    /// No other lane has the same.
    pub(crate) number: i64,
    /// The last batch that was answered, since anything was lost.
    answered: AtomicI64,
}

impl LaneRow {
    pub(crate) fn answered(&self) -> i64 {
        self.answered.load(Ordering::Acquire)
    }

    /// What was answered until now is not there any more.
    pub(crate) fn lose(&self) {
        self.answered.store(0, Ordering::Release);
    }
}

impl Lane {
    /// A lane with a connection and a thread of its own, which ends when this was dropped and all is stored.
    pub(crate) fn start(servers: &Arc<Servers>, lost_up_to: Arc<LostUpTo>) -> io::Result<Self> {
        let (queue, batches) = BatchQueue::new(limits());
        let row = Arc::new(LaneRow {
            number: getrandom::u64()?.cast_signed(),
            answered: AtomicI64::new(0),
        });
        let mut end = End {
            link: Link::new(Arc::clone(servers)),
            row: Arc::clone(&row),
            batch: 0,
            lost_up_to,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(batches.run(async |batch: &mut [Waiting]| end.commit(batch).await));
        };
        let thread = std::thread::Builder::new().name("postgres-lane".to_owned());
        thread.spawn(run)?;
        Ok(Self { queue, row })
    }

    pub(crate) async fn append(&self, new: NewMessage) -> Result<Appended, AppendError> {
        let bytes = new.message.size();
        let since = Instant::now();
        self.queue.call(Waiting { new, since }, bytes).await
    }

    pub(crate) fn row(&self) -> &LaneRow {
        &self.row
    }
}

/// Where batches go to the database.
struct End {
    link: Link,
    row: Arc<LaneRow>,
    /// The last batch's number.
    batch: i64,
    lost_up_to: Arc<LostUpTo>,
}

impl End {
    async fn commit(&mut self, batch: &[Waiting]) -> Result<Outcomes, StorageError> {
        let now = Instant::now();
        let is_late = |waiting: &Waiting| waiting.since + CALL_TIMEOUT < now + LEAST_LEFT;
        let in_time = batch.iter().filter(|waiting| !is_late(waiting));
        let in_time: Vec<&Waiting> = in_time.collect();
        let mut appended = self.append(&in_time).await?.into_iter();
        let outcomes = batch.iter().map(|waiting| {
            let late = || StorageError::new(CallError::Unreachable(CALL_TIMEOUT));
            match is_late(waiting) {
                true => Err(late().into()),
                false => appended.next().unwrap_or_else(|| Err(late().into())),
            }
        });
        Ok(outcomes.collect())
    }

    /// Inboxes that others have locked are waited for when everything else is stored.
    async fn append(&mut self, batch: &[&Waiting]) -> Result<Outcomes, StorageError> {
        let Some(oldest) = batch.iter().map(|waiting| waiting.since).min() else {
            return Ok(Vec::new());
        };
        let deadline = oldest + CALL_TIMEOUT;
        let new = || batch.iter().map(|waiting| &waiting.new);
        let all = Batch::new(new());
        let mut outcomes = self.commit_batch(&all, all.is_for_one(), deadline).await?;
        if !all.is_for_one() && outcomes.iter().any(Option::is_none) {
            let locked = new()
                .zip(&outcomes)
                .filter(|(_, outcome)| outcome.is_none());
            let locked = Batch::new(locked.map(|(new, _)| new));
            let places = outcomes.iter_mut().filter(|outcome| outcome.is_none());
            match self.commit_batch(&locked, true, deadline).await {
                Ok(later) => places.zip(later).for_each(|(place, later)| *place = later),
                // The others are stored.
                Err(error) => places.for_each(|place| *place = Some(Err(error.clone().into()))),
            }
        }
        let outcomes = outcomes.into_iter();
        let outcomes = outcomes.map(|outcome| {
            outcome.unwrap_or_else(|| Err(StorageError::new(CallError::Locked).into()))
        });
        Ok(outcomes.collect())
    }

    async fn commit_batch(
        &mut self,
        batch: &Batch<'_>,
        waits: bool,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, StorageError> {
        let answer = match self.send(batch, waits, deadline).await {
            Err(failure) if failure.is_loss() => {
                let now = restored::now();
                let marked = calls::call(&self.link, restored::MARK, &now, deadline).await?;
                self.lost_up_to.lost(&marked)?;
                self.row.lose();
                // This batch was not stored here either.
                self.send(batch, waits, deadline).await?
            }
            sent => sent?,
        };
        self.row.answered.store(self.batch, Ordering::Release);
        let row = answer.first();
        let row = row.ok_or_else(|| StorageError::unknown("the database has told nothing"))?;
        // What cannot be read was done nevertheless.
        batch.outcomes(row).map_err(StorageError::unknown)
    }

    /// Sends a batch under the next number.
    async fn send(
        &mut self,
        batch: &Batch<'_>,
        waits: bool,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        self.batch += 1;
        meters::batches().increment(1);
        let lane = Params::new()
            .number(self.row.number)
            .number(self.batch)
            .number(self.row.answered())
            .flag(waits);
        calls::call(&self.link, APPEND, &batch.params(lane), deadline).await
    }
}
