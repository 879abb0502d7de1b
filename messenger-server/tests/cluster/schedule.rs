//! Which faults come when: a seed decides.

use super::cluster::NODES;
use super::faults::Fault;
use messenger_core::testing::SeededEntropy;
use std::fmt;
use std::time::Duration;

/// How long a fault lasts, in milliseconds, in a run that has to be over soon, and in a long one.
const SHORT: [usize; 2] = [500, 3_000];
const LONG: [usize; 2] = [1_000, 15_000];

/// A fault, the number of the node or NATS server that it happens to, and how long it lasts.
pub(crate) struct Step {
    pub(crate) fault: Fault,
    pub(crate) victim: usize,
    pub(crate) time: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.time.as_millis();
        write!(f, "{:?} ({}, {ms} ms)", self.fault, self.victim)
    }
}

/// What is repeated with these variables in the environment.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How long it goes on at least; without it each fault happens once.
    pub(crate) minutes: Option<u64>,
    faults: Option<String>,
}

impl Plan {
    pub(crate) fn from_environment() -> Self {
        let read = |name: &str| std::env::var(name).ok();
        let number = |name: &str| Some(read(name)?.parse().expect("a number"));
        Self {
            seed: number("CLUSTER_SEED").unwrap_or_else(|| std::process::id().into()),
            minutes: number("CLUSTER_MINUTES"),
            faults: read("CLUSTER_FAULTS"),
        }
    }

    /// Each fault once, in some order.
    pub(crate) fn round(&self, random: &SeededEntropy) -> Vec<Step> {
        let mut faults = self.faults();
        let [least, most] = self.minutes.map_or(SHORT, |_| LONG);
        let mut steps = Vec::new();
        while !faults.is_empty() {
            let time = least + random.below(most - least);
            steps.push(Step {
                fault: faults.swap_remove(random.below(faults.len())),
                victim: random.below(NODES),
                time: Duration::from_millis(u64::try_from(time).unwrap()),
            });
        }
        steps
    }

    fn faults(&self) -> Vec<Fault> {
        let Some(names) = &self.faults else {
            return Fault::ALL.to_vec();
        };
        let find = |name: &str| {
            let mut all = Fault::ALL.into_iter();
            all.find(|fault| format!("{fault:?}") == name)
                .unwrap_or_else(|| panic!("there is no fault {name}"))
        };
        names.split(',').map(find).collect()
    }
}

impl fmt::Display for Plan {
    /// The command that repeats it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(minutes) = self.minutes {
            write!(f, "CLUSTER_MINUTES={minutes} ")?;
        }
        if let Some(faults) = &self.faults {
            write!(f, "CLUSTER_FAULTS={faults} ")?;
        }
        let seed = self.seed;
        write!(
            f,
            "CLUSTER_SEED={seed} cargo test -p messenger-server --test cluster -- --nocapture"
        )
    }
}
