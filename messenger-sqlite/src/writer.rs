//! The thread that writes: what has queued is committed as one transaction.

use crate::disk::Disk;
use crate::error::CallError;
use crate::fault::Fault;
use crate::inboxes::Inboxes;
use crate::wal::Wal;
use messenger_core::storage::{BatchQueue, QueueLimits, StorageError};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::any::Any;
use std::io;
use std::path::Path;
use std::time::Instant;
use tracing::debug;

/// What a call works on: the transaction under way, and the inboxes as it has left them.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) inboxes: &'a mut Inboxes,
    pub(crate) disk: &'a mut Disk,
    /// Another process has written since somebody has last looked here.
    pub(crate) was_changed_beside: &'a mut bool,
    pub(crate) wal: &'a mut Wal,
}

/// A call, whatever its result. May be done again, when what was done has been rolled back.
type Job = Box<dyn FnMut(&mut Writing<'_>) -> rusqlite::Result<Outcome> + Send>;

/// The `Result` that a call's own caller expects.
type Outcome = Box<dyn Any + Send>;

/// Hands calls to the thread. Dropping it ends the thread, once it has done what was handed to it.
#[derive(Debug)]
pub(crate) struct Writer(BatchQueue<Job, Outcome, StorageError>);

impl Writer {
    /// Numbers up to `lost_up_to` are not given.
    pub(crate) fn start(
        path: &Path,
        connection: Connection,
        disk: Disk,
        lost_up_to: i64,
    ) -> io::Result<Self> {
        let mut file = File {
            connection,
            wal: Wal::of(path),
            inboxes: Inboxes::new(lost_up_to),
            disk,
            was_changed_beside: false,
            version: 0,
        };
        let commit = move |batch: &mut [Job]| file.commit(batch);
        BatchQueue::on_thread("sqlite-writer", QueueLimits::default(), commit).map(Self)
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
        let job: Job = Box::new(move |writing| {
            let result: Result<T, E> = match work(writing) {
                Ok(result) => Ok(result),
                Err(Fault::Refused(refusal)) => Err(refusal),
                Err(Fault::Sqlite(error)) => return Err(error),
            };
            Ok(Box::new(result))
        });
        match self.0.call(job, bytes).await?.downcast() {
            Ok(result) => *result,
            Err(_) => Err(StorageError::new("another call's result").into()),
        }
    }
}

struct File {
    connection: Connection,
    wal: Wal,
    inboxes: Inboxes,
    disk: Disk,
    was_changed_beside: bool,
    /// SQLite's number of what other connections have committed.
    version: i64,
}

impl File {
    fn commit(
        &mut self,
        batch: &mut [Job],
    ) -> Result<Vec<Result<Outcome, StorageError>>, StorageError> {
        let outcomes = self.try_commit(batch).or_else(|error| {
            // They hold what was rolled back.
            self.inboxes.forget();
            let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
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

    fn try_commit(
        &mut self,
        batch: &mut [Job],
    ) -> rusqlite::Result<Vec<Result<Outcome, StorageError>>> {
        let begun = Instant::now();
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let version = data_version(&transaction)?;
        if version != self.version {
            // An operator's command has written beside this server.
            self.inboxes.forget();
            self.was_changed_beside = true;
            self.version = version;
            // It may have deleted somebody.
            self.wal.empty_soon();
        }
        let mut writing = Writing {
            connection: &transaction,
            inboxes: &mut self.inboxes,
            disk: &mut self.disk,
            was_changed_beside: &mut self.was_changed_beside,
            wal: &mut self.wal,
        };
        let outcomes = batch.iter_mut().map(|job| job(&mut writing).map(Ok));
        let outcomes = outcomes.collect::<rusqlite::Result<_>>()?;
        let worked = begun.elapsed();
        transaction.commit()?;
        let (us, work_us) = (begun.elapsed().as_micros(), worked.as_micros());
        debug!(calls = batch.len(), us, work_us, "commit");
        Ok(outcomes)
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    let mut select = connection.prepare_cached("PRAGMA data_version")?;
    select.query_row([], |row| row.get(0))
}
