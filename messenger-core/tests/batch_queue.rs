//! The queue that stores put in front of what carries out their calls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use messenger_core::storage::{BatchQueue, QueueLimits, StorageError};
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

type Queue = BatchQueue<u32, u32, StorageError>;

/// A thread that tells of each batch when it begins, and carries it out when it is told to: then each
/// number comes to itself. A batch with a 13 fails, and of one
/// with a 77 nobody knows.
struct Store {
    // Dropped first: the queue waits for its thread.
    go_on: Sender<()>,
    queue: Queue,
    begun: Receiver<Vec<u32>>,
    done: Arc<Mutex<Vec<u32>>>,
}

impl Store {
    fn new(limits: QueueLimits) -> Self {
        let (begin, begun) = channel();
        let (go_on, going_on) = channel();
        let done = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&done);
        let commit = move |batch: &mut [u32]| {
            begin.send(batch.to_vec()).unwrap();
            // Nobody tells any more: everything may go on.
            let _ = going_on.recv();
            if batch.contains(&13) {
                return Err(StorageError::new("unlucky"));
            }
            kept.lock().unwrap().extend_from_slice(batch);
            if batch.contains(&77) {
                return Err(StorageError::unknown("no answer"));
            }
            Ok(batch.iter().copied().map(Ok).collect())
        };
        let queue = BatchQueue::on_thread("store", limits, commit).unwrap();
        Self {
            queue,
            begun,
            go_on,
            done,
        }
    }

    /// Calls, polls once, and forgets about it.
    fn begin(&self, call: u32, bytes: usize) -> Option<Result<u32, StorageError>> {
        self.begin_for(0, call, bytes)
    }

    /// The same with a key.
    fn begin_for(&self, key: u64, call: u32, bytes: usize) -> Option<Result<u32, StorageError>> {
        let mut calling = pin!(self.queue.call_for(key, call, bytes));
        match calling
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            std::task::Poll::Ready(result) => Some(result),
            std::task::Poll::Pending => None,
        }
    }

    fn batch(&self) -> Vec<u32> {
        self.begun.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

fn limits() -> QueueLimits {
    let mut limits = QueueLimits::default();
    limits.calls = 10;
    limits.bytes = 100;
    limits.batch_calls = 4;
    limits.batch_bytes = 30;
    limits
}

#[test]
fn what_comes_while_a_batch_is_under_way_is_the_next_though_nobody_polls() {
    let store = Store::new(limits());
    assert!(store.begin(1, 1).is_none());
    assert_eq!(store.batch(), [1]);
    for call in 2..=6 {
        assert!(store.begin(call, 1).is_none());
    }
    drop(store.go_on);
    let next = || store.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(next(), [2, 3, 4, 5], "no more than a batch may have");
    assert_eq!(next(), [6]);
    drop(store.queue);
    assert_eq!(*store.done.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_batch_ends_before_the_call_that_is_too_large_for_it() {
    let store = Store::new(limits());
    store.begin(1, 1);
    assert_eq!(store.batch(), [1]);
    for (call, bytes) in [(2, 20), (3, 10), (4, 1), (5, 40), (6, 1)] {
        assert!(store.begin(call, bytes).is_none());
    }
    drop(store.go_on);
    let next = || store.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(
        [next(), next(), next(), next()],
        [vec![2, 3], vec![4], vec![5], vec![6]]
    );
}

#[test]
fn a_key_with_many_calls_keeps_no_other_waiting() {
    let (hot, other, third) = (7, 8, 9);
    let mut limits = limits();
    limits.batch_shares = 2;
    let store = Store::new(limits);
    store.begin(1, 1);
    assert_eq!(store.batch(), [1]);
    for call in 70..76 {
        assert!(store.begin_for(hot, call, 1).is_none());
    }
    assert!(store.begin_for(other, 80, 1).is_none());
    assert!(store.begin_for(third, 90, 1).is_none());
    assert!(store.begin_for(third, 91, 1).is_none());
    drop(store.go_on);
    let next = || store.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(next(), [70, 71, 80, 90], "two are a share");
    assert_eq!(
        next(),
        [91, 72, 73],
        "who had no room for a share is the next"
    );
    assert_eq!(next(), [74, 75], "nobody has two shares");
    drop(store.queue);
}

#[test]
fn a_key_with_many_bytes_keeps_no_other_waiting() {
    let (hot, other) = (7, 8);
    let mut limits = limits();
    limits.batch_shares = 2;
    let store = Store::new(limits);
    store.begin(1, 1);
    assert_eq!(store.batch(), [1]);
    for (key, call, bytes) in [(hot, 70, 10), (hot, 71, 10), (hot, 72, 25), (other, 80, 20)] {
        assert!(store.begin_for(key, call, bytes).is_none());
    }
    drop(store.go_on);
    let next = || store.begun.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(next(), [70, 80], "15 bytes are a share, or one call");
    assert_eq!(next(), [71]);
    assert_eq!(next(), [72]);
}

/// Has these calls carried out, of which each has its tens for a key. `commit` says which are left for later, or that the
/// batch fails. Gives what was done, in order.
async fn carry_out(calls: &[u32], mut commit: impl FnMut(&[u32]) -> Option<Vec<u32>>) -> Vec<u32> {
    let (queue, batches) = Queue::new(limits());
    let mut done = Vec::new();
    let working = batches.run(async |batch: &mut [u32]| {
        let left = commit(batch).ok_or_else(|| StorageError::new("unlucky"))?;
        let results = batch.iter().map(|call| {
            let is_left = left.contains(call);
            done.extend((!is_left).then_some(*call));
            (!is_left).then_some(Ok(*call))
        });
        Ok(results.collect())
    });
    let calling = async {
        let results = join_all(
            calls
                .iter()
                .map(|call| queue.call_for(u64::from(call / 10), *call, 1)),
        );
        for (call, result) in calls.iter().zip(results.await) {
            assert_eq!(result.unwrap(), *call);
        }
        drop(queue);
    };
    join(calling, working).await;
    done
}

#[tokio::test]
async fn what_is_left_for_later_comes_before_what_is_behind_it() {
    let mut batches = 0;
    let done = carry_out(&[70, 71, 80, 81, 72, 82], |batch| {
        batches += 1;
        // The sevens wait for a while.
        let left = batch.iter().filter(|call| **call < 80 && batches < 4);
        Some(left.copied().collect())
    });
    assert_eq!(done.await, [80, 81, 82, 70, 71, 72]);
}

#[tokio::test]
async fn what_is_left_for_later_of_a_batch_that_failed_is_not_overtaken() {
    let mut tried = 0;
    let done = carry_out(&[70, 71, 80], |batch| {
        if batch.len() > 1 {
            return None;
        }
        let is_first = batch == [70];
        tried += u32::from(is_first);
        // The first one waits for a while, and for nothing that those behind it wait for.
        Some(if is_first && tried < 4 {
            vec![70]
        } else {
            Vec::new()
        })
    });
    assert_eq!(done.await, [80, 70, 71]);
}

#[test]
fn over_a_limit_calls_are_refused_at_once_until_there_is_room() {
    let full = |result: Option<Result<_, StorageError>>| assert!(result.unwrap().is_err());
    let store = Store::new(limits());
    store.begin(1, 1_000);
    assert_eq!(store.batch(), [1], "one alone always fits");
    for call in 2..12 {
        assert!(store.begin(call, 1).is_none());
    }
    full(store.begin(12, 1));
    store.go_on.send(()).unwrap();
    assert_eq!(store.batch(), [2, 3, 4, 5]);
    assert!(store.begin(13, 94).is_none());
    full(store.begin(14, 1));
}

#[tokio::test]
async fn one_call_that_cannot_be_done_takes_no_other_with_it() {
    let store = Store::new(limits());
    store.begin(1, 1);
    assert_eq!(store.batch(), [1]);
    let calls = [12, 13, 14].map(|call| store.queue.call(call, 1));
    // All of them wait before the batch begins.
    let go_on = async || drop(store.go_on);
    let (results, ()) = join(join_all(calls), go_on()).await;
    let results: Vec<_> = results.into_iter().map(Result::ok).collect();
    assert_eq!(results, [Some(12), None, Some(14)]);
    assert_eq!(*store.done.lock().unwrap(), [1, 12, 14], "in their order");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_tried_again() {
    let store = Store::new(limits());
    store.begin(1, 1);
    assert_eq!(store.batch(), [1]);
    let calls = [76, 77, 78].map(|call| store.queue.call(call, 1));
    // All of them wait before the batch begins.
    let go_on = async || drop(store.go_on);
    let (results, ()) = join(join_all(calls), go_on()).await;
    for result in results {
        assert!(result.unwrap_err().is_unknown());
    }
    assert_eq!(*store.done.lock().unwrap(), [1, 76, 77, 78]);
}

#[tokio::test]
async fn batches_are_carried_out_by_a_task_that_waits() {
    let (queue, batches) = Queue::new(QueueLimits::default());
    let task = tokio::spawn(batches.run(async |batch: &mut [u32]| {
        tokio::task::yield_now().await;
        Ok(batch.iter().map(|number| Some(Ok(number * 2))).collect())
    }));
    let results = join_all((1..=100).map(|call| queue.call(call, 1))).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, Vec::from_iter((1..=100).map(|call| call * 2)));
    drop(queue);
    task.await.unwrap();
}

#[tokio::test]
async fn a_call_of_a_store_that_has_ended_fails() {
    let (queue, batches) = Queue::new(QueueLimits::default());
    let waiting = queue.call(1, 1);
    let mut waiting = pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(batches);
    waiting.await.unwrap_err();
    let refused = queue.call(2, 1).await.unwrap_err();
    assert!(!refused.is_unknown(), "it was never in the queue");
}

#[tokio::test]
async fn what_was_under_way_when_a_store_ended_may_have_been_done() {
    let (queue, batches) = Queue::new(QueueLimits::default());
    let mut waiting = pin!(queue.call(1, 1));
    assert!(waiting.as_mut().now_or_never().is_none());
    {
        let mut running = pin!(batches.run(async |_| std::future::pending().await));
        assert!(running.as_mut().now_or_never().is_none());
    }
    assert!(waiting.await.unwrap_err().is_unknown());
}
