//! Lanes, on which messages go to the database in batches, one after the other.
//!
//! What comes while a batch is under way is the next one. A lane numbers its batches, and the database keeps the number
//! of its last one and what that came to: a batch whose answer was lost is sent again under its number, and is
//! appended once, though the first attempt may still be under way. When its time is over it is not known whether it was
//! appended; with the batch after it is certain that it never will be, so that nothing is overtaken.

use crate::calls::{self, CALL_TIMEOUT};
use crate::error::CallError;
use crate::link::{Link, Servers};
use crate::params::Params;
use crate::row::Columns;
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

const APPEND: &str = "SELECT kind, seq, recipient, dropped, id, time FROM append_v1(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";

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
    pub(crate) fn start(servers: &Arc<Servers>, number: i64) -> io::Result<Self> {
        let (queue, batches) = BatchQueue::new(limits());
        let mut end = End {
            link: Link::new(Arc::clone(servers)),
            lane: number,
            batch: 0,
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
    /// No other has the same.
    lane: i64,
    /// The last batch's number.
    batch: i64,
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
        self.batch += 1;
        let params = params(self.lane, self.batch, batch);
        let deadline = oldest + CALL_TIMEOUT;
        let answer = calls::call(&self.link, APPEND, &params, deadline).await?;
        if answer.rows.len() != batch.len() {
            return Err(StorageError::unknown(
                "the database has told of other messages",
            ));
        }
        let outcomes = answer.rows.iter().map(outcome);
        // What cannot be read was done nevertheless.
        let outcomes = outcomes.collect::<Result<_, _>>();
        outcomes.map_err(StorageError::unknown)
    }
}

fn params<'a>(lane: i64, number: i64, batch: &[&'a Waiting]) -> Params<'a> {
    let new = || batch.iter().map(|waiting| &waiting.new);
    let messages = || new().map(|new| &*new.message);
    Params::new()
        .number(lane)
        .number(number)
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

/// Reads what a message came to from the columns kind, seq, recipient, dropped, id, time.
fn outcome(row: &Row) -> Result<Result<Appended, AppendError>, StorageError> {
    Ok(match row.value::<i16>(0)? {
        0 => Ok(Appended::Stored {
            seq: row.number(1)?,
            recipient: UserNumber(row.number(2)?),
            dropped: row.number(3)?,
        }),
        1 => Ok(Appended::Duplicate {
            id: row.text(4)?.into(),
            time: row.number(5)?,
        }),
        2 => Err(AppendError::NoSuchUser),
        3 => Err(AppendError::NoSuchSender),
        4 => Err(AppendError::InboxFull),
        5 => Err(AppendError::MidReused),
        other => return Err(StorageError::new(format!("a message came to {other}"))),
    })
}
