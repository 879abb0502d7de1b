//! How long anything may take.

use super::node::Node;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A request is answered within this time, or its connection ends.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);

/// Service is back by itself so long after a fault has ended.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// What is added to both, because the machine may be busy. (For how long this very process stood still is added as well.)
pub(crate) const SLACK: Duration = Duration::from_secs(10);

/// What is no promise, such as that a process starts, takes no longer than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// After so long a client stops waiting for a node that stands still.
const FROZEN: Duration = Duration::from_secs(1);

const TICK: Duration = Duration::from_millis(100);

/// Watches how long requests wait.
pub(crate) struct Patience {
    stalled_ms: Arc<AtomicU64>,
    ticking: JoinHandle<()>,
    /// The longest wait for each kind of request.
    longest: Mutex<BTreeMap<String, Duration>>,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let stalled_ms = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&stalled_ms);
        let ticking = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                sleep(TICK).await;
                let late = begun.elapsed().saturating_sub(2 * TICK);
                let late = u64::try_from(late.as_millis()).unwrap();
                counted.fetch_add(late, Ordering::Relaxed);
            }
        });
        Self {
            stalled_ms,
            ticking,
            longest: Mutex::default(),
        }
    }

    /// Waits for the answer of a node; `None` when that stands still, and a client would give it up.
    pub(crate) async fn answer<T>(
        &self,
        node: &Node,
        what: &str,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let begun = Instant::now();
        let stalled = self.stalled();
        let mut answer = pin!(answer);
        loop {
            let answered = timeout(TICK, &mut answer).await;
            let waited = begun.elapsed();
            let stood_still = node.stood_still_since(begun);
            match answered {
                Ok(answer) => {
                    if !stood_still {
                        self.note(what, waited);
                    }
                    return Some(answer);
                }
                Err(_) if stood_still && waited > FROZEN => return None,
                Err(_) if stood_still => {}
                Err(_) => {
                    let most = REQUEST + SLACK + self.stalled() - stalled;
                    assert!(
                        waited < most,
                        "{what} at {} waits for {waited:?}",
                        node.name
                    );
                }
            }
        }
    }

    /// The longest waits.
    pub(crate) fn longest(&self) -> String {
        let longest = self.longest.lock().unwrap();
        let longest = longest
            .iter()
            .map(|(what, waited)| format!("{what} {} ms", waited.as_millis()));
        longest.collect::<Vec<_>>().join(", ")
    }

    /// For how long this process got no time.
    pub(crate) fn stalled(&self) -> Duration {
        Duration::from_millis(self.stalled_ms.load(Ordering::Relaxed))
    }

    fn note(&self, what: &str, waited: Duration) {
        let mut longest = self.longest.lock().unwrap();
        let longest = longest.entry(what.to_owned()).or_default();
        *longest = waited.max(*longest);
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}
