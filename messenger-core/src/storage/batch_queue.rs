//! Calls of a store, carried out in order and several at once.

mod turns;

use self::turns::Turns;
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
/// Calls may have [keys](Self::call_for), as of whose inbox they are. Those of a key are carried out in their order; keys
/// take turns, so that one with very many calls keeps no other waiting.
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
    /// Into how many shares a batch is divided, in calls and in bytes. Each [key](BatchQueue::call_for) gets one of them
    /// at the most, or a single call. 1.
    pub batch_shares: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            calls: 100_000,
            bytes: 256 * 1024 * 1024,
            batch_calls: 1024,
            batch_bytes: 16 * 1024 * 1024,
            batch_shares: 1,
        }
    }
}

/// The other end of a [`BatchQueue`], where its calls are carried out.
pub struct Batches<C, T, E> {
    calls: mpsc::UnboundedReceiver<Waiting<C, T, E>>,
    turns: Turns<C, T, E>,
    load: Arc<Load>,
}

/// A call that waits, and who waits for it.
struct Waiting<C, T, E> {
    call: C,
    ticket: Ticket<T, E>,
}

/// What is known of a call without looking at it.
struct Ticket<T, E> {
    key: u64,
    bytes: usize,
    caller: oneshot::Sender<Result<T, E>>,
}

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

    /// Of a call that was waiting before.
    fn add_again(&self, more: usize) {
        let mut waiting = self.waiting.lock();
        waiting.0 += 1;
        waiting.1 = waiting.1.saturating_add(more);
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
            turns: Turns::default(),
            load,
        };
        (queue, batches)
    }

    /// A queue whose batches are carried out by a thread of that name, which may block. Dropping the queue waits for
    /// it.
    ///
    /// `commit` carries out all of a batch, and tells what each call came to or why it has done none, as for
    /// [`Batches::run`].
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
        let run = move || {
            runtime.block_on(batches.run(async |batch| {
                let results = commit(batch)?;
                Ok(results.into_iter().map(Some).collect())
            }));
        };
        queue.thread = Some(thread.spawn(run)?);
        Ok(queue)
    }

    /// Has a call carried out, and gives what it came to. It is in the queue when this was first polled.
    ///
    /// # Errors
    /// Too many calls wait, of which `bytes` is what this one keeps in memory; or it could not be carried out, or
    /// was refused.
    ///
    /// # Cancel safety
    /// A future that was polled once has put its call into the queue. Dropping it does not take the call back: it is
    /// carried out, and nobody is told what it came to.
    pub async fn call(&self, call: C, bytes: usize) -> Result<T, E> {
        self.call_for(0, call, bytes).await
    }

    /// The same for a call that has to be carried out behind those of the same key only, such as a hash of whom it is
    /// for. Keys that have calls waiting take turns.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As for [`call`](Self::call).
    pub async fn call_for(&self, key: u64, call: C, bytes: usize) -> Result<T, E> {
        let ended = || StorageError::new("the store has ended");
        let calls = self.calls.as_ref().ok_or_else(ended)?;
        let (caller, result) = oneshot::channel();
        self.load.add(bytes)?;
        let ticket = Ticket { key, bytes, caller };
        let waiting = Waiting { call, ticket };
        calls.send(waiting).map_err(|_| ended())?;
        // It may have been in a batch that was under way.
        let lost = |_| Err(StorageError::unknown("the store has ended").into());
        result.await.unwrap_or_else(lost)
    }
}

impl<C, T, E: From<StorageError>> Batches<C, T, E> {
    /// Has batches carried out, one after the other, until the queue was dropped and is empty.
    ///
    /// `commit` carries out all of a batch and returns what each call came to, in their order; or none of it, and
    /// says why. Then it is given each call of the batch again, alone, unless it may have been done.
    ///
    /// It may also leave a call for the next batch, for which it returns `None`; then it has to leave those of
    /// the same key behind it, too.
    ///
    /// # Cancel safety
    /// Dropping the future drops that of `commit` and ends the queue. All calls that wait fail, as those of the batch
    /// that was under way, which may have been done: none is known not to have been.
    pub async fn run(
        mut self,
        mut commit: impl AsyncFnMut(&mut [C]) -> Result<Vec<Option<Result<T, E>>>, StorageError>,
    ) {
        while let Some((mut calls, tickets)) = self.next_batch().await {
            match commit(&mut calls).await {
                Ok(results) => {
                    let mut left = Vec::new();
                    for ((call, ticket), result) in calls.into_iter().zip(tickets).zip(results) {
                        left.extend(ticket.answer(call, result));
                    }
                    self.put_back(left);
                }
                Err(error) if calls.len() > 1 && !error.is_unknown() => {
                    let mut left: Vec<Waiting<C, T, E>> = Vec::new();
                    for (mut call, ticket) in calls.into_iter().zip(tickets) {
                        let is_behind = left.iter().any(|before| before.ticket.key == ticket.key);
                        let result = match is_behind {
                            true => None,
                            false => alone(commit(slice::from_mut(&mut call)).await),
                        };
                        left.extend(ticket.answer(call, result));
                    }
                    self.put_back(left);
                }
                Err(error) => {
                    for (call, ticket) in calls.into_iter().zip(tickets) {
                        ticket.answer(call, Some(Err(error.clone().into())));
                    }
                }
            }
        }
    }

    async fn next_batch(&mut self) -> Option<(Vec<C>, Vec<Ticket<T, E>>)> {
        if self.turns.is_empty() {
            self.turns.push_back(self.calls.recv().await?);
        }
        while let Ok(waiting) = self.calls.try_recv() {
            self.turns.push_back(waiting);
        }
        let batch = self.turns.take_batch(&self.load.limits);
        for waiting in &batch {
            self.load.remove(waiting.ticket.bytes);
        }
        let batch = batch.into_iter();
        Some(batch.map(|waiting| (waiting.call, waiting.ticket)).unzip())
    }

    /// Puts calls before all others of their keys.
    fn put_back(&mut self, left: Vec<Waiting<C, T, E>>) {
        for waiting in left.into_iter().rev() {
            self.load.add_again(waiting.ticket.bytes);
            self.turns.push_front(waiting);
        }
    }
}

/// What a call came to that was a batch by itself.
fn alone<T, E: From<StorageError>>(
    done: Result<Vec<Option<Result<T, E>>>, StorageError>,
) -> Option<Result<T, E>> {
    match done {
        Ok(results) => results.into_iter().next().flatten(),
        Err(error) => Some(Err(error.into())),
    }
}

impl<T, E> Ticket<T, E> {
    /// Tells the caller, who may have gone, what became of the call; or gives it back if it is to wait.
    fn answer<C>(self, call: C, result: Option<Result<T, E>>) -> Option<Waiting<C, T, E>> {
        match result {
            Some(result) => {
                let _ = self.caller.send(result);
                None
            }
            None => Some(Waiting { call, ticket: self }),
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
