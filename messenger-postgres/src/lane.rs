//! Lanes, on which messages go to the database in batches, one after the other.
//!
//! What comes while a batch is under way is the next one. A lane numbers its batches, and the database keeps the number
//! of its last one and what that came to: a batch whose answer was lost is sent again under its number, and is
//! appended once, though the first attempt may still be under way. When its time is over it is not known whether it was
//! appended; with the batch after it is certain that it never will be, so that nothing is overtaken.

use crate::calls::{self, Answer, CALL_TIMEOUT, Failure};
use crate::error::CallError;
use crate::link::{Link, Servers};
use crate::params::Params;
use crate::restored::LostUpTo;
use crate::row::Columns;
use crate::text::unescape;
use messenger_core::proto::Message;
use messenger_core::storage::{
    AppendError, Appended, BatchQueue, NewMessage, QueueLimits, StorageError, UserNumber,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::Instant;
use tokio_postgres::Row;

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

/// A lane that was idle for so long takes another number: its row may be gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

const APPEND: &str = "SELECT kinds, seqs, recipients, dropped, ids, times FROM append_v1(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

type Outcomes = Vec<Result<Appended, AppendError>>;

/// A message that waits, and since when.
struct Waiting {
    new: NewMessage,
    since: Instant,
}

/// Takes messages, and appends them in their order.
pub(crate) struct Lane(BatchQueue<Waiting, Appended, AppendError>);

impl Lane {
    /// A lane with a connection and a thread of its own, which ends when this was dropped and all is stored.
    pub(crate) fn start(servers: &Arc<Servers>, lost_up_to: Arc<LostUpTo>) -> io::Result<Self> {
        let (queue, batches) = BatchQueue::new(limits());
        let mut end = End {
            link: Link::new(Arc::clone(servers)),
            number: Number::new()?,
            lost_up_to,
            losses: metrics::counter!("messenger_postgres_losses_total"),
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(batches.run(async |batch: &mut [Waiting]| end.commit(batch).await));
        };
        let thread = std::thread::Builder::new().name("postgres-lane".to_owned());
        thread.spawn(run)?;
        Ok(Self(queue))
    }

    pub(crate) async fn append(&self, new: NewMessage) -> Result<Appended, AppendError> {
        let bytes = new.message.size();
        let since = Instant::now();
        self.0.call(Waiting { new, since }, bytes).await
    }
}

/// Where batches go to the database.
struct End {
    link: Link,
    number: Number,
    lost_up_to: Arc<LostUpTo>,
    losses: metrics::Counter,
}

/// What the database knows a lane and its batches by.
struct Number {
    /// No other has the same.
    lane: i64,
    /// The last batch's number.
    batch: i64,
    /// The last batch that was answered.
    answered: i64,
    /// When the last one went.
    used: Instant,
}

impl Number {
    fn new() -> io::Result<Self> {
        Ok(Self {
            lane: getrandom::u64()?.cast_signed(),
            batch: 0,
            answered: 0,
            used: Instant::now(),
        })
    }
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

    async fn append(&mut self, batch: &[&Waiting]) -> Result<Outcomes, StorageError> {
        let Some(oldest) = batch.iter().map(|waiting| waiting.since).min() else {
            return Ok(Vec::new());
        };
        let deadline = oldest + CALL_TIMEOUT;
        if self.number.used.elapsed() > FORGOTTEN_AFTER {
            self.number = Number::new().map_err(StorageError::new)?;
        }
        let answer = match self.send(batch, deadline).await {
            Err(failure) if failure.is_loss() => {
                self.losses.increment(1);
                tracing::error!(
                    "the PostgreSQL database has lost messages that it had stored, as after a failover to a standby \
                     that was behind, or as an older copy; inboxes go on under new numbers"
                );
                self.lost_up_to.mark(&self.link, deadline).await?;
                // It was not stored here: what the lane had stored until now is not there either.
                self.number = Number::new().map_err(StorageError::new)?;
                self.send(batch, deadline).await?
            }
            sent => sent?,
        };
        self.number.answered = self.number.batch;
        let row = answer.first();
        let outcomes = row.ok_or_else(|| StorageError::unknown("the database has told nothing"));
        // What cannot be read was done nevertheless.
        outcomes.and_then(|row| outcomes_of(row, batch.len()).map_err(StorageError::unknown))
    }

    /// Sends a batch under the next number.
    async fn send(&mut self, batch: &[&Waiting], deadline: Instant) -> Result<Answer, Failure> {
        self.number.batch += 1;
        self.number.used = Instant::now();
        let params = params(&self.number, batch);
        calls::call(&self.link, APPEND, &params, deadline).await
    }
}

fn params<'a>(number: &Number, batch: &[&'a Waiting]) -> Params<'a> {
    let new = || batch.iter().map(|waiting| &waiting.new);
    let messages = || new().map(|new| &*new.message);
    Params::new()
        .number(number.lane)
        .number(number.batch)
        .number(number.answered)
        .texts(messages().map(|message| message.to.as_str()))
        .optional_numbers(new().map(|new| new.sender.map(|UserNumber(number)| number)))
        .texts(messages().map(|message| message.from.as_str()))
        .texts(messages().map(|message| &*message.nick))
        .texts(messages().map(|message| message.id.as_str()))
        .numbers(messages().map(|message| message.time))
        .texts(messages().map(|message| message.body.as_str()))
        .texts(messages().map(|message| &*message.attach.mime))
        .texts(messages().map(|message| message.attach.data.as_str()))
        .numbers(messages().map(Message::size))
        .optional_texts(new().map(|new| new.mid.as_deref()))
        .optional_bytes(new().map(|new| new.mid.as_ref().map(|_| new.digest())))
        .times(new().map(|new| new.mid_forgotten_before))
        .times(new().map(|new| new.now))
        .numbers(new().map(|new| new.limits.messages))
        .numbers(new().map(|new| new.limits.bytes))
}

/// Reads what each of so many messages came to from the columns kinds, seqs, recipients, dropped, ids, times.
fn outcomes_of(row: &Row, count: usize) -> Result<Outcomes, StorageError> {
    let kinds: Option<Vec<i16>> = row.value(0)?;
    let seqs: Vec<i64> = row.value(1)?;
    let recipients: Vec<i64> = row.value(2)?;
    let dropped: Option<Vec<i64>> = row.value(3)?;
    let mut ids: Option<Vec<Option<String>>> = row.value(4)?;
    let times: Option<Vec<Option<i64>>> = row.value(5)?;
    let number = |numbers: &[i64], n: usize| numbers.get(n).map_or(0, |number| unsigned(*number));
    let outcomes = (0..count).map(|n| {
        let kind = kinds
            .as_ref()
            .map_or(Some(0), |kinds| kinds.get(n).copied());
        Ok(match kind {
            Some(0) => Ok(Appended::Stored {
                seq: number(&seqs, n),
                recipient: UserNumber(number(&recipients, n)),
                dropped: number(dropped.as_deref().unwrap_or_default(), n),
            }),
            Some(1) => Ok(Appended::Duplicate {
                id: unescape(
                    of(ids.as_mut(), n)
                        .and_then(Option::take)
                        .unwrap_or_default(),
                )
                .into(),
                time: times
                    .as_ref()
                    .and_then(|times| *times.get(n)?)
                    .map_or(0, unsigned),
            }),
            Some(2) => Err(AppendError::NoSuchUser),
            Some(3) => Err(AppendError::NoSuchSender),
            Some(4) => Err(AppendError::InboxFull),
            Some(5) => Err(AppendError::MidReused),
            other => return Err(StorageError::new(format!("a message came to {other:?}"))),
        })
    });
    outcomes.collect()
}

fn of<T>(values: Option<&mut Vec<T>>, n: usize) -> Option<&mut T> {
    values?.get_mut(n)
}

/// A number, which this store never makes negative.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}
