//! Lanes, on which messages go to the database in batches, one after the other.
//!
//! What comes while a batch is under way is the next one. A lane numbers its batches, and the database keeps the number
//! of its last one and what that came to: a batch whose answer was lost is sent again under its number, and is
//! appended once, though the first attempt may still be under way. When its time is over it is not known whether it was
//! appended; with the batch after it is certain that it never will be, so that nothing is overtaken.
//!
//! Recipients take turns, and each has a share of a batch: what comes for one of them in masses keeps the others' messages
//! no longer than that takes. An inbox that somebody else has locked is left for the next batch.

use crate::batch::{APPEND, Batch, Outcome};
use crate::calls::{self, Answer, CALL_TIMEOUT, Failure, LEAST_LEFT};
use crate::error::CallError;
use crate::link::{For, Link, Servers};
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
use tokio::time::{Instant, sleep};

/// How long a message waits for an inbox that somebody else has locked.
const LOCKED: Duration = Duration::from_millis(500);

/// How long it is waited before the next batch when everything in one was for such inboxes.
const PAUSE: Duration = Duration::from_millis(1);

/// How much waits in a lane, and how much goes at once.
fn limits() -> QueueLimits {
    let mut limits = QueueLimits::default();
    limits.calls = 50_000;
    limits.bytes = 64 * 1024 * 1024;
    limits.batch_calls = 512;
    limits.batch_bytes = 1024 * 1024;
    limits.batch_shares = 8;
    limits
}

/// A message that waits.
struct Waiting {
    new: NewMessage,
    since: Instant,
    /// Since when for an inbox that somebody else has locked.
    locked: Option<Instant>,
}

impl Waiting {
    fn is_late(&self, now: Instant) -> bool {
        self.since + CALL_TIMEOUT < now + LEAST_LEFT
    }

    /// Its inbox is locked: it is left for later, until that has lasted too long.
    fn wait(&mut self, now: Instant) -> Outcome {
        let since = *self.locked.get_or_insert(now);
        (now - since >= LOCKED).then(|| Err(refused(CallError::Locked)))
    }
}

fn refused(cause: CallError) -> AppendError {
    StorageError::new(cause).into()
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
            link: Link::new(Arc::clone(servers), For::Writes),
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

    /// Appends a message, behind those of which `recipient`, a hash, is the same.
    pub(crate) async fn append(
        &self,
        recipient: u64,
        new: NewMessage,
    ) -> Result<Appended, AppendError> {
        let bytes = new.message.size();
        let waiting = Waiting {
            new,
            since: Instant::now(),
            locked: None,
        };
        self.queue.call_for(recipient, waiting, bytes).await
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
    /// Appends what is not late. What is for an inbox that somebody else has locked is left for the next batch.
    async fn commit(&mut self, batch: &mut [Waiting]) -> Result<Vec<Outcome>, StorageError> {
        let now = Instant::now();
        let in_time = || batch.iter().filter(|waiting| !waiting.is_late(now));
        let appended = match in_time().map(|waiting| waiting.since).min() {
            Some(oldest) => {
                let in_time = Batch::new(in_time().map(|waiting| &waiting.new));
                self.commit_batch(&in_time, oldest + CALL_TIMEOUT).await?
            }
            None => Vec::new(),
        };
        let mut appended = appended.into_iter();
        let outcomes = batch.iter_mut().map(|waiting| match waiting.is_late(now) {
            true => Some(Err(refused(CallError::Unreachable(CALL_TIMEOUT)))),
            false => appended.next().flatten().or_else(|| waiting.wait(now)),
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        if outcomes.iter().all(Option::is_none) {
            sleep(PAUSE).await;
        }
        Ok(outcomes)
    }

    async fn commit_batch(
        &mut self,
        batch: &Batch<'_>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, StorageError> {
        let answer = match self.send(batch, deadline).await {
            Err(failure) if failure.is_loss() => {
                let now = restored::now();
                let marked = calls::call(&self.link, restored::MARK, &now, deadline).await?;
                self.lost_up_to.lost(&marked)?;
                self.row.lose();
                // This batch was not stored here either.
                self.send(batch, deadline).await?
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
    async fn send(&mut self, batch: &Batch<'_>, deadline: Instant) -> Result<Answer, Failure> {
        self.batch += 1;
        meters::batches().increment(1);
        let lane = Params::new()
            .number(self.row.number)
            .number(self.batch)
            .number(self.row.answered());
        calls::call(&self.link, APPEND, &batch.params(lane), deadline).await
    }
}
