//! The least a durable store must do: append what has queued to a file, sync it, answer everyone.

use crate::workload::{Sent, micros};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Record = (Vec<u8>, oneshot::Sender<()>);

pub(crate) struct Bare {
    queue: Sender<Record>,
    batches: Arc<AtomicU64>,
    records: Arc<AtomicU64>,
}

impl Bare {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path)?;
        let (queue, records) = mpsc::channel();
        let bare = Self {
            queue,
            batches: Arc::default(),
            records: Arc::default(),
        };
        let counts = (Arc::clone(&bare.batches), Arc::clone(&bare.records));
        std::thread::spawn(move || append(file, &records, &counts.0, &counts.1));
        Ok(bare)
    }

    /// Has so many senders append records of so many bytes.
    pub(crate) async fn run(&self, senders: usize, bytes: usize, time: Duration) -> Sent {
        let started = Instant::now();
        let end = started + time;
        let senders = (0..senders).map(|_| {
            let queue = self.queue.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let asked = Instant::now();
                    let (caller, answer) = oneshot::channel();
                    queue.send((vec![b'x'; bytes], caller)).unwrap();
                    answer.await.unwrap();
                    times.push(micros(asked));
                }
                times
            })
        });
        let senders: Vec<_> = senders.collect();
        let mut times = Vec::new();
        for sender in senders {
            times.push(sender.await.unwrap());
        }
        Sent::of(times, started)
    }

    pub(crate) fn mean_batch(&self) -> f64 {
        let (records, batches) = (&self.records, &self.batches);
        records.load(Ordering::Relaxed) as f64 / batches.load(Ordering::Relaxed) as f64
    }
}

fn append(mut file: File, records: &Receiver<Record>, batches: &AtomicU64, count: &AtomicU64) {
    let (mut bytes, mut callers) = (Vec::new(), Vec::new());
    while let Ok(first) = records.recv() {
        for (record, caller) in std::iter::once(first).chain(records.try_iter()) {
            bytes.extend_from_slice(&record);
            callers.push(caller);
        }
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        batches.fetch_add(1, Ordering::Relaxed);
        count.fetch_add(callers.len() as u64, Ordering::Relaxed);
        bytes.clear();
        for caller in callers.drain(..) {
            caller.send(()).unwrap();
        }
    }
}
