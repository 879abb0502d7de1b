//! The server and the relay in turns, so that what the machine does meanwhile befalls both.

use crate::pairs::{self, Figures};
use crate::process::Server;
use crate::{Failed, Load};
use serde::Serialize;
use std::fmt;

/// A turn of each.
#[derive(Debug, Serialize)]
struct Round {
    server: Figures,
    relay: Figures,
}

/// All turns.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    rounds: Vec<Round>,
}

pub(crate) async fn run(load: Load, rounds: usize, store: &str) -> Result<Compared, Failed> {
    let mut compared = Compared { rounds: Vec::new() };
    for round in 1..=rounds {
        eprintln!("round {round}, server");
        let server = Server::messenger(store).await?;
        let of_server = pairs::run(server.peer, load, server.pid()).await?;
        drop(server);
        eprintln!("round {round}, relay");
        let relay = Server::relay().await?;
        let of_relay = pairs::run(relay.peer, load, relay.pid()).await?;
        compared.rounds.push(Round {
            server: of_server,
            relay: of_relay,
        });
    }
    Ok(compared)
}

impl Compared {
    /// The middle one and the extremes of what each round gives.
    fn spread(&self, of: impl Fn(&Round) -> f64) -> [f64; 3] {
        let mut all: Vec<_> = self.rounds.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| all.get(place).copied().unwrap_or(f64::NAN);
        [at(all.len() / 2), at(0), at(all.len().saturating_sub(1))]
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        type Of = fn(&Figures) -> f64;
        let rows: [(&str, Of); 4] = [
            ("messages a second", |figures| figures.messages_a_second),
            ("p50, µs", |figures| figures.p50 as f64),
            ("p99, µs", |figures| figures.p99 as f64),
            ("CPU, s a million", |figures| {
                figures.server_cpu.unwrap_or_default()
            }),
        ];
        write!(f, "{:18} {:>10} {:>10}   ratio", "", "server", "relay")?;
        for (name, of) in rows {
            let [server, ..] = self.spread(|round| of(&round.server));
            let [relay, ..] = self.spread(|round| of(&round.relay));
            let [ratio, least, most] = self.spread(|round| of(&round.server) / of(&round.relay));
            write!(
                f,
                "\n{name:18} {server:10.2} {relay:10.2}   {ratio:.2} ({least:.2} to {most:.2})"
            )?;
        }
        let lost: u64 = self.rounds.iter().map(|round| round.server.lost).sum();
        let disorder: u64 = self
            .rounds
            .iter()
            .map(|round| round.server.out_of_order)
            .sum();
        write!(
            f,
            "\nthe server lost {lost}, and gave {disorder} out of order"
        )
    }
}
