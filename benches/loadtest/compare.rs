//! The server and something else in turns, so that what the machine does meanwhile befalls both.

use crate::figures::{Figures, is_time};
use crate::picture::{Bar, Chart, OTHER, Pictured, SERVER, TIMES};
use crate::process::Server;
use crate::wire::NODES;
use crate::{Failed, Scenario};
use serde::Serialize;
use std::fmt;

/// A turn of each.
#[derive(Debug, Serialize)]
struct Round {
    server: Figures,
    other: Figures,
}

/// All turns.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    rounds: Vec<Round>,
    /// What both are called.
    #[serde(skip)]
    names: [&'static str; 2],
}

impl Default for Compared {
    fn default() -> Self {
        Self::of("server", "other")
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The server in memory with a relay.
    Server,
    /// A file with memory.
    File,
    /// A PostgreSQL database with a file.
    Database,
    /// Three servers on one database with one.
    Nodes,
    /// Three servers with the two of a pair on different ones, and on the same.
    Across,
    /// Limits in time with none.
    Limits,
    /// WebSocket with TCP.
    WebSocket,
    /// The server in memory with a NATS server.
    Nats,
}

/// The flags of a server that keeps nothing and lets clients do as much as they can.
const BEST: [&str; 3] = ["--store", "memory:", "--no-rate-limits"];

/// The same with limits in time, as they are unless told otherwise but for messages.
const LIMITED: [&str; 10] = [
    "--store",
    "memory:",
    "--max-message-rate",
    "1000000000",
    "--max-message-burst",
    "1000000000",
    "--max-byte-rate",
    "1000000000",
    "--max-byte-burst",
    "1000000000",
];

/// The longest payload that NATS is to take, in bytes: with an attachment it has more than it takes by default.
const NATS_PAYLOAD: usize = 8 * 1024 * 1024;

/// Those of a database server that is not tiny.
pub(crate) const SETTINGS: [&str; 3] = [
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
];

/// Runs it on both in turns.
pub(crate) async fn run(
    scenario: &Scenario,
    rounds: usize,
    what: What,
) -> Result<Compared, Failed> {
    let mut compared = Compared::default();
    for round in 1..=rounds {
        eprintln!("round {round}, server");
        let folder = tempfile::tempdir()?;
        let file = format!("sqlite:{}", folder.path().join("messages").display());
        let on_file = ["--store", &file, "--no-rate-limits"];
        let server = match what {
            What::Server | What::Nats => Server::messenger(&BEST).await?,
            What::File => Server::messenger(&on_file).await?,
            What::Database => Server::on_database(&SETTINGS).await?,
            What::Nodes | What::Across => Server::nodes(&SETTINGS, NODES).await?,
            What::Limits => Server::messenger(&LIMITED).await?,
            What::WebSocket => Server::over_websocket(&BEST).await?,
        };
        let of_server = scenario.run(server.target).await?;
        drop(server);
        eprintln!("round {round}, the other");
        let other = match what {
            What::Server => Server::relay().await?,
            What::Nats => Server::nats(NATS_PAYLOAD)?,
            What::Database => Server::messenger(&on_file).await?,
            What::Nodes => Server::nodes(&SETTINGS, 1).await?,
            What::Across => {
                let mut nodes = Server::nodes(&SETTINGS, NODES).await?;
                nodes.target.pairs_share = true;
                nodes
            }
            What::File | What::Limits | What::WebSocket => Server::messenger(&BEST).await?,
        };
        compared.add(of_server, scenario.run(other.target).await?);
    }
    Ok(compared)
}

impl Compared {
    /// Nothing yet, of these two.
    pub(crate) fn of(one: &'static str, other: &'static str) -> Self {
        Self {
            rounds: Vec::new(),
            names: [one, other],
        }
    }

    pub(crate) fn add(&mut self, server: Figures, other: Figures) {
        self.rounds.push(Round { server, other });
    }

    /// The middle one and the extremes of what each round gives.
    fn spread(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<[f64; 3]> {
        let mut all: Vec<_> = self.rounds.iter().filter_map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        Some([*all.get(all.len() / 2)?, *all.first()?, *all.last()?])
    }

    /// The spread of the rounds' ratios.
    fn ratio(&self, name: &str) -> Option<[f64; 3]> {
        self.spread(|round| Some(round.server.get(name)? / round.other.get(name)?))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.rounds
            .iter()
            .take(1)
            .flat_map(|first| first.server.names())
    }
}

impl Pictured for Compared {
    fn charts(&self) -> Vec<Chart> {
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        let [one, two] = self.names;
        for name in self.names() {
            let told = name.trim_end_matches("_us").replace('_', " ");
            let server = self.spread(|round| round.server.get(name));
            let other = self.spread(|round| round.other.get(name));
            if let (true, Some(server), Some(other)) = (is_time(name), server, other) {
                times.extend(Bar::new(format!("{told}, {one}"), SERVER, server));
                times.extend(Bar::new(format!("{told}, {two}"), OTHER, other));
            }
            let ratio = self.ratio(name);
            ratios.extend(ratio.and_then(|ratio| Bar::new(told, SERVER, ratio)));
        }
        let of_times = Chart {
            title: TIMES.into(),
            bars: times,
        };
        let of_ratios = Chart {
            title: format!("{one} divided by {two}"),
            bars: ratios,
        };
        vec![of_times, of_ratios]
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rounds.is_empty() {
            return Ok(());
        }
        let [one, two] = self.names;
        write!(f, "{:24} {one:>12} {two:>12}   ratio", "")?;
        for name in self.names() {
            let server = self.spread(|round| round.server.get(name));
            let other = self.spread(|round| round.other.get(name));
            let (Some([server, ..]), Some([other, ..]), Some([ratio, least, most])) =
                (server, other, self.ratio(name))
            else {
                continue;
            };
            let name = name.replace('_', " ");
            write!(f, "\n{name:24} {server:12.2} {other:12.2}")?;
            if ratio.is_finite() {
                write!(f, "   {ratio:.2} ({least:.2} to {most:.2})")?;
            }
        }
        Ok(())
    }
}
