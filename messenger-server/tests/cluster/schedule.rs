//! Which faults come when, and which at once: a seed decides.

use super::cluster::NODES;
use super::faults::Fault;
use messenger_core::testing::SeededEntropy;
use std::fmt;
use std::time::Duration;

/// How long a fault lasts, in milliseconds, in a run that has to be over soon, and in a long one.
const SHORT: [usize; 2] = [500, 2_000];
const LONG: [usize; 2] = [1_000, 15_000];

/// One fault, or two of which the second begins while the first lasts.
pub(crate) struct Step(pub(crate) Vec<Blow>);

/// A fault, when it comes, the number of the node or NATS server that it happens to, and how long it lasts.
pub(crate) struct Blow {
    pub(crate) fault: Fault,
    /// So long after the first.
    pub(crate) after: Duration,
    pub(crate) victim: usize,
    pub(crate) time: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blows: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "{}", blows.join(" and, "))
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.after.is_zero() {
            write!(f, "{} ms later, ", self.after.as_millis())?;
        }
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

    /// Each fault once, in some order, and many of them while another lasts.
    pub(crate) fn round(&self, random: &SeededEntropy) -> Vec<Step> {
        let mut faults = self.faults();
        let mut steps = Vec::new();
        while !faults.is_empty() {
            let fault = faults.swap_remove(random.below(faults.len()));
            let first = self.blow(fault, 0, random);
            let within = first.time.as_millis();
            let mut blows = vec![first];
            let others = faults.iter().enumerate();
            let others = others.filter(|(_, other)| other.part() != fault.part());
            let others: Vec<_> = others.map(|(place, _)| place).collect();
            if !others.is_empty() && random.below(2) == 0 {
                let other = faults.swap_remove(others[random.below(others.len())]);
                let after = 1 + random.below(usize::try_from(within).unwrap());
                blows.push(self.blow(other, after, random));
            }
            steps.push(Step(blows));
        }
        steps
    }

    fn blow(&self, fault: Fault, after_ms: usize, random: &SeededEntropy) -> Blow {
        let [least, most] = self.minutes.map_or(SHORT, |_| LONG);
        let time = least + random.below(most - least);
        let ms = |number: usize| Duration::from_millis(u64::try_from(number).unwrap());
        Blow {
            fault,
            after: ms(after_ms),
            victim: random.below(NODES),
            time: ms(time),
        }
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
