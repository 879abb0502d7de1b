//! The thread that writes: what has queued is committed as one transaction.

use crate::OpenError;
use crate::disk::Disk;
use crate::error::CallError;
use crate::fault::Fault;
use crate::inboxes::Inboxes;
use crate::wal::Wal;
use messenger_core::storage::{
    AppendError, Appended, BatchQueue, NewMessage, QueueLimits, StorageError,
};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::any::Any;
use std::path::Path;
use std::time::Instant;
use tracing::debug;

/// What a call works on: the transaction under way, and the inboxes as it has left them.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) inboxes: &'a mut Inboxes,
    pub(crate) disk: &'a mut Disk,
    /// How often another process has written.
    pub(crate) changed_beside: u64,
    pub(crate) wal: &'a mut Wal,
    /// This is the server: what it remembers is what there is, unless a command writes beside it.
    pub(crate) is_server: bool,
}

/// May be done again, when what was done has been rolled back.
enum Call {
    /// Nearly all are this one, which goes without boxes.
    Append(NewMessage, Append),
    Other(Job),
}

/// What appends a message.
pub(crate) type Append = fn(&mut Writing<'_>, &NewMessage) -> Result<Appended, Fault<AppendError>>;

/// The `Result` that a call's own caller expects.
enum Outcome {
    Append(Result<Appended, AppendError>),
    Other(Box<dyn Any + Send>),
}

/// A call, whatever its result.
type Job = Box<dyn FnMut(&mut Writing<'_>) -> rusqlite::Result<Box<dyn Any + Send>> + Send>;

/// Hands calls to the thread. Dropping it ends the thread, once it has done what was handed to it.
#[derive(Debug)]
pub(crate) struct Writer(BatchQueue<Call, Outcome, StorageError>);

impl Call {
    fn carry_out(&mut self, writing: &mut Writing<'_>) -> rusqlite::Result<Outcome> {
        Ok(match self {
            Self::Append(new, append) => Outcome::Append(decided(append(writing, new))?),
            Self::Other(job) => Outcome::Other(job(writing)?),
        })
    }
}

/// What the caller is told, unless the file could not be read or written.
fn decided<T, E>(done: Result<T, Fault<E>>) -> rusqlite::Result<Result<T, E>> {
    match done {
        Ok(result) => Ok(Ok(result)),
        Err(Fault::Refused(refusal)) => Ok(Err(refusal)),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}

impl Writer {
    /// Looks up what has just come.
    pub(crate) fn start(
        path: &Path,
        connection: Connection,
        mut inboxes: Inboxes,
        disk: Disk,
        is_server: bool,
    ) -> Result<Self, OpenError> {
        inboxes
            .arrivals(&connection)
            .map_err(|source| OpenError::Sqlite {
                path: path.to_owned(),
                source: source.into(),
            })?;
        inboxes.publish();
        let mut file = File {
            connection,
            wal: Wal::of(path),
            inboxes,
            disk,
            is_server,
            changed_beside: 0,
            version: 0,
        };
        let commit = move |batch: &mut [Call]| file.commit(batch);
        let queue = BatchQueue::on_thread("sqlite-writer", QueueLimits::default(), commit)?;
        Ok(Self(queue))
    }

    /// Has a message appended; see [`call`](Self::call).
    pub(crate) async fn append(
        &self,
        new: NewMessage,
        append: Append,
    ) -> Result<Appended, AppendError> {
        let bytes = new.message.size();
        match self.0.call(Call::Append(new, append), bytes).await? {
            Outcome::Append(result) => result,
            Outcome::Other(_) => Err(not_its_own().into()),
        }
    }

    /// Has `work`, which keeps so many bytes, done inside a transaction, and gives its result once that is on the
    /// disk. It is in the queue when the future was first polled.
    pub(crate) async fn call<T, E>(
        &self,
        bytes: usize,
        mut work: impl FnMut(&mut Writing<'_>) -> Result<T, Fault<E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let job: Job = Box::new(move |writing| Ok(Box::new(decided(work(writing))?)));
        let Outcome::Other(result) = self.0.call(Call::Other(job), bytes).await? else {
            return Err(not_its_own().into());
        };
        match result.downcast() {
            Ok(result) => *result,
            Err(_) => Err(not_its_own().into()),
        }
    }
}

fn not_its_own() -> StorageError {
    StorageError::new("another call's result")
}

struct File {
    connection: Connection,
    wal: Wal,
    inboxes: Inboxes,
    disk: Disk,
    is_server: bool,
    changed_beside: u64,
    /// SQLite's number of what other connections have committed.
    version: i64,
}

impl File {
    fn commit(
        &mut self,
        batch: &mut [Call],
    ) -> Result<Vec<Result<Outcome, StorageError>>, StorageError> {
        let outcomes = self.settle_due().and_then(|()| self.try_commit(batch));
        let outcomes = outcomes.or_else(|error| {
            // They hold what was rolled back.
            self.inboxes.forget();
            let is_busy = is_busy(&error);
            let error = StorageError::new(CallError::from(error));
            if is_busy {
                // Alone, each would wait as long again.
                return Ok(batch.iter().map(|_| Err(error.clone())).collect());
            }
            Err(error)
        })?;
        self.wal.look(&self.connection);
        Ok(outcomes)
    }

    /// Moves messages that have come long ago. It fails only if nothing else would do better.
    fn settle_due(&mut self) -> rusqlite::Result<()> {
        if !self.inboxes.is_due() {
            return Ok(());
        }
        match self.do_alone(Inboxes::settle_due) {
            Err(error) if is_busy(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Does what nobody has called for, in a transaction of its own. Whatever becomes of it, no message is lost.
    fn do_alone(
        &mut self,
        work: fn(&mut Inboxes, &Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let job: Job = Box::new(move |writing| {
            work(writing.inboxes, writing.connection)?;
            Ok(Box::new(()))
        });
        let done = self.try_commit(&mut [Call::Other(job)]);
        if done.is_err() {
            self.inboxes.forget();
        }
        done.map(drop)
    }

    fn try_commit(
        &mut self,
        batch: &mut [Call],
    ) -> rusqlite::Result<Vec<Result<Outcome, StorageError>>> {
        let begun = Instant::now();
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let version = data_version(&transaction)?;
        if version != self.version {
            // An operator's command has written beside this server.
            self.inboxes.forget();
            self.changed_beside += 1;
            self.version = version;
            // It may have deleted somebody.
            self.wal.empty_soon();
        }
        let mut writing = Writing {
            connection: &transaction,
            inboxes: &mut self.inboxes,
            disk: &mut self.disk,
            changed_beside: self.changed_beside,
            wal: &mut self.wal,
            is_server: self.is_server,
        };
        let outcomes = batch
            .iter_mut()
            .map(|call| call.carry_out(&mut writing).map(Ok));
        let outcomes = outcomes.collect::<rusqlite::Result<_>>()?;
        self.inboxes.finish(&transaction)?;
        let worked = begun.elapsed();
        transaction.commit()?;
        let (us, work_us) = (begun.elapsed().as_micros(), worked.as_micros());
        debug!(calls = batch.len(), us, work_us, "commit");
        self.inboxes.publish();
        Ok(outcomes)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.is_server {
            // Or whoever looks into the file finds messages in two places.
            let _ = self.do_alone(Inboxes::settle);
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    let mut select = connection.prepare_cached("PRAGMA data_version")?;
    select.query_row([], |row| row.get(0))
}
