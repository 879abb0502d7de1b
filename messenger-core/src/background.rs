//! Long work that must not keep short work waiting.
//!
//! A burst of logins, whose passwords are hashed, or of large imports keeps processors busy for as long as it lasts. A low priority alone does not help
//! those that only have a message to pass on: some kernels let a thread that wakes up wait for the
//! next timer interrupt of the processor it is to run on, which may be 4 ms away. So the work stays on
//! one processor and has that interrupted often; measured with a flood of wrong passwords on two
//! processors, 99 of 100 messages then take under 1 ms instead of under 5 ms.

use std::io;
use tokio::sync::oneshot;

/// There was no thread for it, or it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoThread {
    #[error("a thread could not be started")]
    Start(#[from] io::Error),
    #[error("the thread that did it is gone")]
    Gone,
}

/// Does it on a thread of its own: starting one is nothing beside the work, and a priority once lowered
/// cannot be raised again.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoThread> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("background".to_owned());
    thread.spawn(move || {
        #[cfg(target_os = "linux")]
        let _interrupted = linux::give_way();
        // Whoever asked may have gone.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| NoThread::Gone)
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::setpriority_process;
    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
    use std::io;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
    use std::time::Duration;

    /// The lowest priority there is among threads that are run at all.
    const NICENESS: i32 = 19;

    /// How often the processor is interrupted.
    const INTERRUPTED_EVERY: Duration = Duration::from_micros(200);

    /// Goes on until dropped.
    pub(super) struct Interrupted {
        _until_dropped: Sender<()>,
    }

    /// Has this thread give way to any other, without delay.
    pub(super) fn give_way() -> Option<Interrupted> {
        match try_give_way() {
            Ok(interrupted) => Some(interrupted),
            Err(error) => {
                tracing::debug!(%error, "work in the background does not give way");
                None
            }
        }
    }

    fn try_give_way() -> io::Result<Interrupted> {
        let mut here = CpuSet::new();
        let processor = sched_getcpu();
        if processor >= CpuSet::MAX_CPU {
            return Err(io::ErrorKind::Unsupported.into());
        }
        here.set(processor);
        sched_setaffinity(None, &here)?;
        let (until_dropped, dropped) = channel::<()>();
        // Inherits the processor, and is given its priority before it is lowered here.
        let thread = std::thread::Builder::new().name("interrupt".to_owned());
        thread.spawn(move || {
            while dropped.recv_timeout(INTERRUPTED_EVERY) == Err(RecvTimeoutError::Timeout) {}
        })?;
        setpriority_process(None, NICENESS)?;
        Ok(Interrupted {
            _until_dropped: until_dropped,
        })
    }
}
