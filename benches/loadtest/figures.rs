//! What was measured: names and numbers.

use crate::picture::{Bar, Chart, Pictured, SERVER, TIMES};
use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};
use std::fmt;

/// Names and numbers, in the order in which they are told. A name ends in the unit, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<(&'static str, f64)>);

impl Figures {
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }

    /// Adds how long things took, in microseconds.
    pub(crate) fn add_times(&mut self, times: &Histogram<u64>) {
        let at = |quantile| times.value_at_quantile(quantile) as f64;
        self.add("p50_us", at(0.5));
        self.add("p90_us", at(0.9));
        self.add("p99_us", at(0.99));
        self.add("p999_us", at(0.999));
        self.add("longest_us", times.max() as f64);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        let mut all = self.0.iter();
        all.find_map(|(own, value)| (*own == name).then_some(*value))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.0.iter().map(|(name, _)| *name)
    }
}

/// Whether it is how long something took, in microseconds, and no processor time.
pub(crate) fn is_time(name: &str) -> bool {
    name.ends_with("_us") && !name.ends_with("_cpu_us")
}

impl Pictured for Figures {
    fn charts(&self) -> Vec<Chart> {
        let times = self.0.iter().filter(|(name, _)| is_time(name));
        let bars = times.filter_map(|(name, value)| {
            let told = name.trim_end_matches("_us").replace('_', " ");
            Bar::new(told, SERVER, [*value; 3])
        });
        vec![Chart {
            title: TIMES.into(),
            bars: bars.collect(),
        }]
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            writeln!(f, "{:28} {value:14.2}", name.replace('_', " "))?;
        }
        let cpu = |name| self.get(name).unwrap_or_default();
        if cpu("server_cpu_us") > 0.0 && cpu("tool_cpu_us") > cpu("server_cpu_us") {
            writeln!(
                f,
                "the tool took more than the server: it may be what bounds the figures"
            )?;
        }
        Ok(())
    }
}
