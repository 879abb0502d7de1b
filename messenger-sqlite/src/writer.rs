//! The thread that writes: what has queued is committed as one transaction.

use crate::error::CallError;
use crate::store::Inboxes;
use messenger_core::storage::StorageError;
use rusqlite::{Connection, TransactionBehavior};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// How many calls may wait for the thread; more are refused.
const WAITING: usize = 100_000;

/// How many calls are committed together at the most.
const TOGETHER: usize = 1024;

/// Why a call has no result: the caller's fault, or the file's.
pub(crate) enum Fault<E> {
    /// The answer is no; nothing was written.
    Refused(E),
    /// The file could not be read or written.
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Fault<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What a call works on: the transaction under way, and the inboxes as it has left them.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) inboxes: &'a mut Inboxes,
}

/// Hands calls to the thread. Dropping it ends the thread, once it has done what was handed to it.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<Mutex<Sender<Box<dyn Job>>>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A call, whatever its result.
trait Job: Send {
    /// Does it. May be done again, when what was done has been rolled back.
    fn run(&mut self, writing: &mut Writing<'_>) -> rusqlite::Result<()>;
    /// Answers the caller, after what was done has been committed or could not be.
    fn answer(self: Box<Self>, committed: Result<(), Arc<CallError>>);
}

struct Call<T, E, F> {
    work: F,
    result: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Call<T, E, F>
where
    T: Send,
    E: From<StorageError> + Send,
    F: FnMut(&mut Writing<'_>) -> Result<T, Fault<E>> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> rusqlite::Result<()> {
        self.result = Some(match (self.work)(writing) {
            Ok(result) => Ok(result),
            Err(Fault::Refused(refusal)) => Err(refusal),
            Err(Fault::Sqlite(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Arc<CallError>>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(StorageError::new("the call was not carried out").into()),
            (Err(error), _) => Err(StorageError::new(error).into()),
        };
        // Whoever called may have gone.
        let _ = self.caller.send(result);
    }
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (queue, calls) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write(connection, &calls, &counted))?;
        Ok(Self {
            queue: Some(Mutex::new(queue)),
            waiting,
            thread: Some(thread),
        })
    }

    /// Has `work` done inside a transaction, and gives its result once that is on the disk. It is in
    /// the queue when the future was first polled.
    pub(crate) async fn call<T, E>(
        &self,
        work: impl FnMut(&mut Writing<'_>) -> Result<T, Fault<E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (caller, result) = oneshot::channel();
        self.hand_over(Box::new(Call {
            work,
            result: None,
            caller,
        }))?;
        result
            .await
            .unwrap_or_else(|_| Err(StorageError::new("the writing thread has ended").into()))
    }

    fn hand_over(&self, job: Box<dyn Job>) -> Result<(), StorageError> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(StorageError::new(
                "too many calls wait for the writing thread",
            ));
        }
        let ended = || StorageError::new("the writing thread has ended");
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.send(job).map_err(|_| ended())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It closes the file; whoever opens it next must not come before that.
            let _ = thread.join();
        }
    }
}

fn write(connection: Connection, calls: &Receiver<Box<dyn Job>>, waiting: &AtomicUsize) {
    let mut file = File {
        connection,
        inboxes: Inboxes::default(),
        version: 0,
    };
    while let Ok(first) = calls.recv() {
        let mut batch = vec![first];
        batch.extend(calls.try_iter().take(TOGETHER - 1));
        waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        file.commit(batch);
    }
}

struct File {
    connection: Connection,
    inboxes: Inboxes,
    /// SQLite's number of what other connections have committed.
    version: i64,
}

impl File {
    /// Commits a batch. When that fails, each call is tried alone: one that cannot be done must not
    /// take the others with it.
    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let committed = self
            .try_commit(&mut batch)
            .map_err(|error| Arc::new(CallError::from(error)));
        if committed.is_err() {
            // They hold what was rolled back.
            self.inboxes.forget();
            if batch.len() > 1 {
                for job in batch {
                    self.commit(vec![job]);
                }
                return;
            }
        }
        for job in batch {
            job.answer(committed.clone());
        }
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let version = data_version(&transaction)?;
        if version != self.version {
            // An operator's command has written beside this server.
            self.inboxes.forget();
            self.version = version;
        }
        let mut writing = Writing {
            connection: &transaction,
            inboxes: &mut self.inboxes,
        };
        for job in batch {
            job.run(&mut writing)?;
        }
        transaction.commit()
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    let mut select = connection.prepare_cached("PRAGMA data_version")?;
    select.query_row([], |row| row.get(0))
}
