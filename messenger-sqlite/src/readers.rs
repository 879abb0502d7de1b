//! The threads that read.

use crate::error::CallError;
use messenger_core::storage::StorageError;
use rusqlite::Connection;
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// How many calls may wait for a thread; more are refused.
const WAITING: usize = 100_000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Hands calls to threads that read. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(connections: Vec<Connection>) -> io::Result<Self> {
        let (queue, calls) = mpsc::sync_channel(WAITING);
        let calls = Arc::new(Mutex::new(calls));
        let threads = connections.into_iter().map(|connection| {
            let calls = Arc::clone(&calls);
            std::thread::Builder::new()
                .name("sqlite-reader".to_owned())
                .spawn(move || read(&connection, &calls))
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            queue: Some(queue),
        })
    }

    /// Has `work` done on what was committed last.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (caller, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever called may have gone: nobody else must wait for what they asked.
            if !caller.is_closed() {
                let _ = caller.send(work(connection));
            }
        });
        let ended = "the reading threads have ended";
        let queue = self
            .queue
            .as_ref()
            .ok_or_else(|| StorageError::new(ended))?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StorageError::new("too many calls wait to read"),
            TrySendError::Disconnected(_) => StorageError::new(ended),
        })?;
        let result = result.await.map_err(|_| StorageError::new(ended))?;
        result.map_err(|error| StorageError::new(CallError::from(error)))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read(connection: &Connection, calls: &Mutex<Receiver<Job>>) {
    loop {
        let next = calls.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(connection),
            Err(_) => return,
        }
    }
}
