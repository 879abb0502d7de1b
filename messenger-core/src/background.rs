//! Long work that must not keep short work waiting.
//!
//! A burst of logins, whose passwords are hashed, or of large imports keeps processors busy for as long as it
//! lasts. A low priority alone does not help those that only have a message to pass on: some kernels let a thread
//! that wakes up wait for the next timer interrupt of the processor it is to run on, which may be 4 ms away. So
//! the work stays on few processors and has those interrupted often; measured with a flood of wrong passwords on
//! two processors, 99 of 100 messages then take under 1 ms instead of under 5 ms.

use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use tokio::sync::oneshot;

/// There was no thread for it, or it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoThread {
    #[error("a thread could not be started")]
    Start(#[from] io::Error),
    #[error("the work was not brought to its end")]
    Gone,
}

/// Threads for long work. They are started when there is some for the first time, and end with the pool.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: usize,
    jobs: Mutex<Option<Sender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    /// A pool of so many threads, one at the least.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            jobs: Mutex::default(),
        }
    }

    /// Does it on one of the threads, behind whatever was asked for before. It is left out when nobody waits for it
    /// any more by the time it would begin; once it has begun it is brought to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoThread> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            if !done.is_closed() {
                // Whoever asked may go meanwhile.
                let _ = done.send(work());
            }
        });
        self.jobs()?.send(job).map_err(|_| NoThread::Gone)?;
        result.await.map_err(|_| NoThread::Gone)
    }

    /// Where the threads take their work from.
    fn jobs(&self) -> io::Result<Sender<Job>> {
        let mut jobs = self.jobs.lock();
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let (sender, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..self.threads {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name("background".to_owned());
            thread.spawn(move || work_off(&queue, number))?;
        }
        *jobs = Some(sender.clone());
        Ok(sender)
    }
}

/// Does what is in the queue, until nobody can put anything there.
#[cfg_attr(not(target_os = "linux"), allow(unused_variables))] // threads have their places only there
fn work_off(queue: &Mutex<Receiver<Job>>, number: usize) {
    #[cfg(target_os = "linux")]
    let interrupts = linux::give_way(number);
    loop {
        // Not in the head of a loop, where the lock would be held to its end.
        let next = queue.lock().recv();
        let Ok(job) = next else {
            return;
        };
        #[cfg(target_os = "linux")]
        let _interrupted = interrupts.as_ref().map(linux::Interrupts::begin);
        // The thread outlives what panics; whoever waits for that learns that it is gone.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::setpriority_process;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::io;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
    use std::thread;
    use std::time::Duration;

    /// The lowest priority there is among threads that are run at all.
    const NICENESS: i32 = 19;

    /// How often the processor is interrupted.
    const INTERRUPTED_EVERY: Duration = Duration::from_micros(200);

    /// Interrupts the processor of a thread while that works.
    pub(super) struct Interrupts {
        turn: Sender<()>,
    }

    /// Goes on until dropped.
    pub(super) struct Interrupted<'a>(&'a Interrupts);

    impl Interrupts {
        pub(super) fn begin(&self) -> Interrupted<'_> {
            // Nobody listens only when this thread is gone.
            let _ = self.turn.send(());
            Interrupted(self)
        }
    }

    impl Drop for Interrupted<'_> {
        fn drop(&mut self) {
            let _ = self.0.turn.send(());
        }
    }

    /// Has this thread, the pool's one of this number, give way to any other, without delay.
    pub(super) fn give_way(number: usize) -> Option<Interrupts> {
        match try_give_way(number) {
            Ok(interrupts) => Some(interrupts),
            Err(error) => {
                tracing::debug!(%error, "work in the background does not give way");
                None
            }
        }
    }

    fn try_give_way(number: usize) -> io::Result<Interrupts> {
        let mut own = CpuSet::new();
        own.set(processor(number)?);
        sched_setaffinity(None, &own)?;
        let (turn, turns) = channel();
        // Inherits the processor, and is given its priority before it is lowered here.
        let thread = thread::Builder::new().name("interrupt".to_owned());
        thread.spawn(move || interrupt(&turns))?;
        setpriority_process(None, NICENESS)?;
        Ok(Interrupts { turn })
    }

    /// One of the processors that this process may use, another one for each thread as far as there are enough: the
    /// last ones first, since devices interrupt the first.
    fn processor(number: usize) -> io::Result<usize> {
        let allowed = sched_getaffinity(None)?;
        let processors = (0..CpuSet::MAX_CPU).rev();
        let processors: Vec<_> = processors.filter(|one| allowed.is_set(*one)).collect();
        let turn = number.checked_rem(processors.len());
        let processor = turn.and_then(|turn| processors.get(turn));
        processor.copied().ok_or(io::ErrorKind::Unsupported.into())
    }

    /// Turns tell that work begins, and that it ends.
    fn interrupt(turns: &Receiver<()>) {
        while turns.recv().is_ok() {
            while turns.recv_timeout(INTERRUPTED_EVERY) == Err(RecvTimeoutError::Timeout) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn no_more_runs_at_once_than_there_are_threads_and_threads_stay() {
        let pool = Pool::new(2);
        let running = Arc::new(AtomicUsize::new(0));
        let jobs = (0..20).map(|_| {
            let running = Arc::clone(&running);
            pool.run(move || {
                let at_once = running.fetch_add(1, Ordering::SeqCst) + 1;
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                (at_once, thread::current().id())
            })
        });
        let done = futures_util::future::join_all(jobs).await;
        let done: Vec<_> = done.into_iter().map(Result::unwrap).collect();
        assert!(done.iter().all(|(at_once, _)| *at_once <= 2), "{done:?}");
        let threads = done.iter().map(|(_, thread)| *thread);
        let threads: std::collections::HashSet<_> = threads.collect();
        assert!(threads.len() <= 2, "{threads:?}");
    }

    #[tokio::test]
    async fn work_that_panics_ends_no_thread() {
        let pool = Pool::new(1);
        let failed = pool.run(|| panic!("for the test")).await;
        assert!(matches!(failed, Err(NoThread::Gone)));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_left_out_unless_it_has_begun() {
        let pool = Pool::new(1);
        let (begun, begins) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let (ended, ends) = channel();
        let first = pool.run(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            ended.send("first").unwrap();
        });
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        let second = pool.run(|| panic!("nobody waits for it"));
        let mut second: std::pin::Pin<Box<dyn Future<Output = Result<(), _>>>> = Box::pin(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        begins.recv().unwrap();
        drop((first, second));
        go_on.send(()).unwrap();
        assert_eq!(ends.recv().unwrap(), "first");
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn threads_end_with_the_pool() {
        let pool = Pool::new(3);
        let (alive, ended) = channel::<()>();
        for _ in 0..30 {
            thread_local! {
                static ALIVE: std::cell::OnceCell<Sender<()>> = const { std::cell::OnceCell::new() };
            }
            let alive = alive.clone();
            let job = Box::new(move || {
                ALIVE.with(|own| drop(own.set(alive)));
            });
            pool.jobs().unwrap().send(job).unwrap();
        }
        drop((alive, pool));
        // The last thread drops the last sender.
        let waited = ended.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(waited, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }
}
