//! Calls of a store, carried out in order and several at once.

use super::StorageError;
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::slice;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Calls of a store, carried out in order and several at once: what comes while a batch is under way is the next
/// one.
///
/// It keeps what [`Storage::append`](super::Storage::append) promises. A [`call`](Self::call) is queued when its
/// future is first polled, and is then carried out whether anybody polls it or not. A batch is all or nothing; when
/// it fails each of its calls is tried alone, in order, so that one which cannot be done takes no other with it. (Not
/// when it [is unknown](StorageError::is_unknown) whether it was done: then it is for each of them.)
///
/// What is carried out is a list of calls `C`, each of which comes to a `Result<T, E>`:
///
/// ```
/// use messenger_core::storage::{BatchQueue, QueueLimits, StorageError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut sum = 0;
/// let add = move |batch: &mut [u64]| {
///     Ok(batch
///         .iter()
///         .map(|number| {
///             sum += *number;
///             Ok::<u64, StorageError>(sum)
///         })
///         .collect())
/// };
/// let queue = BatchQueue::on_thread("adder", QueueLimits::default(), add)?;
/// assert_eq!(queue.call(3, 8).await?, 3);
/// assert_eq!(queue.call(4, 8).await?, 7);
/// # Ok(())
/// # }
/// ```
///
/// Dropping it lets what was called be carried out.
pub struct BatchQueue<C, T, E> {
    calls: Option<mpsc::UnboundedSender<Waiting<C, T, E>>>,
    load: Arc<Load>,
    thread: Option<JoinHandle<()>>,
}

/// How much waits in a [`BatchQueue`], and how much is carried out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// The most calls that wait; more are refused. 100,000.
    pub calls: usize,
    /// The most bytes that wait; more are refused, but never the only call. 256 MiB.
    pub bytes: usize,
    /// The most calls of a batch. 1,024.
    pub batch_calls: usize,
    /// The most bytes of a batch; a call that has more goes alone. 16 MiB.
    pub batch_bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            calls: 100_000,
            bytes: 256 * 1024 * 1024,
            batch_calls: 1024,
            batch_bytes: 16 * 1024 * 1024,
        }
    }
}

/// The other end of a [`BatchQueue`], where its calls are carried out.
pub struct Batches<C, T, E> {
    calls: mpsc::UnboundedReceiver<Waiting<C, T, E>>,
    /// It did not fit into the batch before.
    next: Option<Waiting<C, T, E>>,
    load: Arc<Load>,
}

/// A call that waits, and who waits for it.
struct Waiting<C, T, E> {
    call: C,
    bytes: usize,
    caller: Caller<T, E>,
}

type Caller<T, E> = oneshot::Sender<Result<T, E>>;

/// What waits.
struct Load {
    limits: QueueLimits,
    /// Calls, and their bytes.
    waiting: Mutex<(usize, usize)>,
}

impl Load {
    fn add(&self, more: usize) -> Result<(), StorageError> {
        let mut waiting = self.waiting.lock();
        let (calls, bytes) = *waiting;
        let too_large = bytes.saturating_add(more) > self.limits.bytes;
        if calls >= self.limits.calls || (too_large && calls > 0) {
            return Err(StorageError::new("too many calls wait for the store"));
        }
        *waiting = (calls + 1, bytes.saturating_add(more));
        Ok(())
    }

    fn remove(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        waiting.0 -= 1;
        waiting.1 -= bytes;
    }
}

impl<C, T, E> BatchQueue<C, T, E>
where
    C: Send + 'static,
    T: Send + 'static,
    E: From<StorageError> + Send + 'static,
{
    /// A queue whose batches are carried out wherever [`Batches::run`] is awaited.
    pub fn new(limits: QueueLimits) -> (Self, Batches<C, T, E>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(Load {
            limits,
            waiting: Mutex::default(),
        });
        let queue = Self {
            calls: Some(sender),
            load: Arc::clone(&load),
            thread: None,
        };
        let batches = Batches {
            calls: receiver,
            next: None,
            load,
        };
        (queue, batches)
    }

    /// A queue whose batches are carried out by a thread of that name, which may block. Dropping the queue waits for
    /// it.
    ///
    /// What `commit` returns is told as by [`Batches::run`].
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn on_thread(
        name: &str,
        limits: QueueLimits,
        mut commit: impl FnMut(&mut [C]) -> Result<Vec<Result<T, E>>, StorageError> + Send + 'static,
    ) -> io::Result<Self> {
        let (mut queue, batches) = Self::new(limits);
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned());
        let run = move || runtime.block_on(batches.run(async |batch| commit(batch)));
        queue.thread = Some(thread.spawn(run)?);
        Ok(queue)
    }

    /// Has a call carried out, and gives what it came to. It is in the queue when this was first polled.
    ///
    /// # Errors
    /// Too many calls wait, of which `bytes` is what this one keeps in memory; or it could not be carried out, or
    /// was refused.
    pub async fn call(&self, call: C, bytes: usize) -> Result<T, E> {
        let ended = || StorageError::new("the store has ended");
        let calls = self.calls.as_ref().ok_or_else(ended)?;
        let (caller, result) = oneshot::channel();
        self.load.add(bytes)?;
        let waiting = Waiting {
            call,
            bytes,
            caller,
        };
        calls.send(waiting).map_err(|_| ended())?;
        result.await.unwrap_or_else(|_| Err(ended().into()))
    }
}

impl<C, T, E: From<StorageError>> Batches<C, T, E> {
    /// Has batches carried out, one after the other, until the queue was dropped and is empty.
    ///
    /// `commit` carries out all of a batch and returns what each call came to, in their order; or none of it, and
    /// says why. Then it is given each call of the batch again, alone, unless it may have been done.
    pub async fn run(
        mut self,
        mut commit: impl AsyncFnMut(&mut [C]) -> Result<Vec<Result<T, E>>, StorageError>,
    ) {
        while let Some((mut calls, callers)) = self.next_batch().await {
            match commit(&mut calls).await {
                Err(error) if calls.len() > 1 && !error.is_unknown() => {
                    for (call, caller) in calls.iter_mut().zip(callers) {
                        answer([caller], commit(slice::from_mut(call)).await);
                    }
                }
                done => answer(callers, done),
            }
        }
    }

    async fn next_batch(&mut self) -> Option<(Vec<C>, Vec<Caller<T, E>>)> {
        let mut next = match self.next.take() {
            Some(next) => Some(next),
            None => Some(self.calls.recv().await?),
        };
        let limits = self.load.limits;
        let (mut calls, mut callers, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        while let Some(waiting) = next {
            bytes = bytes.saturating_add(waiting.bytes);
            if !calls.is_empty() && bytes > limits.batch_bytes {
                self.next = Some(waiting);
                break;
            }
            self.load.remove(waiting.bytes);
            calls.push(waiting.call);
            callers.push(waiting.caller);
            next = match calls.len() < limits.batch_calls {
                true => self.calls.try_recv().ok(),
                false => None,
            };
        }
        Some((calls, callers))
    }
}

/// Tells callers, who may have gone, what became of their calls.
fn answer<T, E: From<StorageError>>(
    callers: impl IntoIterator<Item = Caller<T, E>>,
    done: Result<Vec<Result<T, E>>, StorageError>,
) {
    match done {
        Ok(results) => {
            for (result, caller) in results.into_iter().zip(callers) {
                let _ = caller.send(result);
            }
        }
        Err(error) => {
            for caller in callers {
                let _ = caller.send(Err(error.clone().into()));
            }
        }
    }
}

impl<C, T, E> Drop for BatchQueue<C, T, E> {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // It may have a file open; whoever opens it next must not come before it is closed.
            let _ = thread.join();
        }
    }
}

impl<C, T, E> fmt::Debug for BatchQueue<C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchQueue").finish_non_exhaustive()
    }
}

impl<C, T, E> fmt::Debug for Batches<C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}
