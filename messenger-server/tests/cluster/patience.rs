//! How long anything may take.

use super::bystander::{Bystander, Waits};
use super::folder::Folder;
use super::node::Node;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A request is answered within this time, or its connection ends.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);

/// Service is back by itself so long after a fault has ended.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// Both are what the clock decides, as how long the store is waited for, and how long before the next attempt. What the
/// machine decides comes on top: no more than so many times what a bystander's visit takes it.
const VISITS: u32 = 10;

/// No visit counts for less, or it would be up to one stop of one process. (On two quiet cores it takes some 60 ms.)
const A_VISIT: Duration = Duration::from_millis(100);

/// What is no promise, such as that a process starts, takes no longer than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// After so long a client stops waiting for a node that stands still.
const FROZEN: Duration = Duration::from_secs(1);

const TICK: Duration = Duration::from_millis(100);

/// Watches how long requests wait.
pub(crate) struct Patience {
    bystander: Bystander,
    /// The longest wait for each kind of request.
    longest: Mutex<BTreeMap<String, Duration>>,
}

/// Since when something is waited for.
pub(crate) struct Waiting {
    begun: Instant,
    waits: Waits,
}

impl Patience {
    pub(crate) async fn new(folder: &Arc<Folder>) -> Self {
        Self {
            bystander: Bystander::start(folder).await,
            longest: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self) -> Waiting {
        Waiting {
            begun: Instant::now(),
            waits: self.bystander.waits(),
        }
    }

    /// Fails when something is waited for longer than for `most`, and for what a machine that is busy adds.
    pub(crate) fn check(&self, what: &str, waiting: &Waiting, most: Duration) {
        let visit = self.bystander.wait_since(&waiting.waits).max(A_VISIT);
        let waited = waiting.begun.elapsed();
        assert!(
            waited < most + VISITS * visit,
            "{what} is waited for since {waited:?}, while a bystander's visit takes {visit:?}"
        );
    }

    /// Waits for the answer of a node; `None` when that stands still, and a client would give it up.
    pub(crate) async fn answer<T>(
        &self,
        node: &Node,
        what: &str,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let waiting = self.begin();
        let mut answer = pin!(answer);
        loop {
            let answered = timeout(TICK, &mut answer).await;
            let waited = waiting.begun.elapsed();
            let stood_still = node.stood_still_since(waiting.begun);
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
                    let what = format!("{what} at {}", node.name);
                    self.check(&what, &waiting, REQUEST);
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

    /// How long a bystander's visit took on the average.
    pub(crate) fn visit(&self) -> Duration {
        self.bystander.wait_since(&Waits::default())
    }

    fn note(&self, what: &str, waited: Duration) {
        let mut longest = self.longest.lock().unwrap();
        let longest = longest.entry(what.to_owned()).or_default();
        *longest = waited.max(*longest);
    }
}
