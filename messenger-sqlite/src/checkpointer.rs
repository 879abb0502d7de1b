//! The thread that copies the log into the file while the writer goes on.

use crate::wal::{How, checkpoint};
use rusqlite::Connection;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

/// Hands the thread its work. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    work: Option<SyncSender<()>>,
    has_copied: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Copies over a connection of its own.
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (work, rounds) = mpsc::sync_channel(1);
        let has_copied = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_copied);
        let thread = std::thread::Builder::new().name("sqlite-checkpointer".to_owned());
        Ok(Self {
            work: Some(work),
            has_copied,
            thread: Some(thread.spawn(move || run(&connection, &rounds, &told))?),
        })
    }

    /// Has copied what is in the log now.
    pub(crate) fn copy(&self) {
        if let Some(work) = &self.work {
            // When it is asked already, it will.
            let _ = work.try_send(());
        }
    }

    /// True once after it has copied.
    pub(crate) fn has_copied(&self) -> bool {
        self.has_copied.load(Ordering::Relaxed) && self.has_copied.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, rounds: &Receiver<()>, has_copied: &AtomicBool) {
    while rounds.recv().is_ok() {
        // When the disk fails, the next commit tells.
        let _ = checkpoint(connection, How::Passive);
        has_copied.store(true, Ordering::Relaxed);
    }
}
