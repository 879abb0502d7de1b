//! Measures a messenger server under load, and beside it a relay: the least that a server could do.
//!
//! `cargo run --release -p benches --bin loadtest -- --help`

#![allow(clippy::indexing_slicing)] // of what this program itself has measured or framed

mod attach;
mod backlog;
mod compare;
mod crowd;
mod fanout;
mod figures;
mod flood;
mod flow;
mod idle;
mod nats;
mod open;
mod pairs;
mod picture;
mod process;
mod relay;
mod roster;
#[cfg(feature = "scale")]
mod scale;
mod storm;
mod websocket;
mod wire;

use clap::{Args, Parser, Subcommand};
use compare::What;
use figures::Figures;
use picture::{Picture, Pictured};
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::{NODES, Protocol, Target};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, in a sentence.
type Failed = Box<dyn Error + Send + Sync>;

/// Measures a messenger server under load.
///
/// Start the server with --no-rate-limits, or it does as it is told and refuses; for `flood` with its limits.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    whom: Whom,
    /// Print the figures as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Also draw them into this file, as an SVG: how long things took, and what was compared.
    #[arg(long, global = true, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Whom to measure, unless servers are started to be compared.
#[derive(Debug, Args)]
struct Whom {
    /// Where the server listens.
    #[arg(long, global = true, default_value = "127.0.0.1:7788")]
    server: SocketAddr,
    /// Where it listens for WebSocket, if senders and recipients are to come in so.
    #[arg(long, global = true, conflicts_with_all = ["is_relay", "is_nats"])]
    ws: Option<SocketAddr>,
    /// It is a relay.
    #[arg(long, global = true)]
    is_relay: bool,
    /// It is a NATS server.
    #[arg(long, global = true, conflicts_with = "is_relay")]
    is_nats: bool,
    /// The server's process, to tell its processor time and memory.
    #[arg(long, global = true)]
    server_pid: Option<u32>,
}

impl Whom {
    fn protocol(&self) -> Protocol {
        match (self.is_relay, self.is_nats) {
            (true, _) => Protocol::Relay,
            (_, true) => Protocol::Nats,
            _ => Protocol::Messenger,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Once(Scenario),
    /// Runs a scenario on the server and on a relay in turns, and prints their ratios. The server is
    /// the one built beside this program.
    Compare {
        /// How many turns each has.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// The server keeps its data in a file, and instead of the relay there is the same server that
        /// keeps them in memory.
        #[arg(long)]
        durable: bool,
        /// The server limits what clients may do in a time, messages to more than they send, and instead of
        /// the relay there is the same server without limits.
        #[arg(long, conflicts_with = "durable")]
        limited: bool,
        /// The server keeps its data in a PostgreSQL database, which is started for it, and instead of the relay there
        /// is the same server that keeps them in a file.
        #[arg(long, conflicts_with_all = ["durable", "limited"])]
        postgres: bool,
        /// There are three servers on one database and one NATS server, both of which are started for them; whoever
        /// sends is on another server than the recipient. Instead of the relay there is one server with the same.
        #[arg(long, conflicts_with_all = ["durable", "limited", "postgres"])]
        nodes: bool,
        /// The same three servers, and instead of the relay three more with each sender on its recipient's.
        #[arg(long, conflicts_with_all = ["durable", "limited", "postgres", "nodes"])]
        across: bool,
        /// Senders and recipients come in over WebSocket, and instead of the relay there is the same server
        /// over TCP.
        #[arg(long, conflicts_with_all = ["durable", "limited", "postgres", "nodes", "across"])]
        websocket: bool,
        /// Instead of the relay there is a NATS server, which is started for it; recipients answer each message.
        #[arg(long, conflicts_with_all = ["durable", "limited", "postgres", "nodes", "across", "websocket"])]
        nats: bool,
        #[command(subcommand)]
        scenario: Scenario,
    },
    /// Runs a scenario on a server with many accounts and idle connections and on one without, in turns.
    Crowd {
        #[command(flatten)]
        crowd: crowd::Beside,
        /// How many turns each has.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        #[command(subcommand)]
        scenario: Scenario,
    },
    /// Measures a server on a store with very many users and messages, and one on a store with few, in turns.
    #[cfg(feature = "scale")]
    Scale(scale::Load),
    /// Serves as a relay: frames are handed on as they are.
    Relay {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Serves as a server in memory.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// How many accounts there are that nobody can use.
        #[arg(long, default_value_t = 0)]
        accounts: usize,
    },
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Pairs of a sender and a recipient: messages a second, and how long one takes.
    Pairs(pairs::Load),
    /// Messages at a fixed rate, and how long one takes from when it was due.
    Open(open::Load),
    /// Connections that do nothing: the server's memory for each.
    Idle(idle::Load),
    /// Clients that come back all at once: connections a second.
    Storm(storm::Load),
    /// Large attachments: megabytes a second.
    Attach(attach::Load),
    /// One user on several devices: what they are given a second, all together.
    Fanout(fanout::Load),
    /// Long contact lists and imports.
    Roster(roster::Load),
    /// Messages that have waited for somebody who comes back.
    Backlog(backlog::Load),
    /// Messages at a fixed rate, alone and then beside clients that flood the server, which runs with its limits.
    Flood(flood::Load),
}

impl Scenario {
    async fn run(&self, target: Target) -> Result<Figures, Failed> {
        match self {
            Self::Pairs(load) => pairs::run(target, *load).await,
            Self::Open(load) => open::run(target, *load).await,
            Self::Storm(load) => storm::run(target, *load).await,
            Self::Attach(load) => attach::run(target, *load).await,
            _ if target.protocol != Protocol::Messenger => {
                Err("only a server of this protocol can do that".into())
            }
            Self::Idle(load) => idle::run(target, load).await,
            Self::Fanout(load) => fanout::run(target, *load).await,
            Self::Roster(load) => roster::run(target, *load).await,
            Self::Backlog(load) => backlog::run(target, *load).await,
            Self::Flood(load) => flood::run(target, *load).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("it did not work: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failed> {
    let how = How {
        json: cli.json,
        svg: cli.svg.as_deref(),
    };
    match cli.command {
        Command::Once(scenario) => {
            let target = Target {
                nodes: [cli.whom.server; NODES],
                pairs_share: false,
                websocket: cli.whom.ws,
                protocol: cli.whom.protocol(),
                pids: [cli.whom.server_pid, None, None],
            };
            how.show(&scenario.run(target).await?)
        }
        Command::Compare {
            rounds,
            durable,
            limited,
            postgres,
            nodes,
            across,
            websocket,
            nats,
            scenario,
        } => {
            let what = match (durable, limited, postgres, nodes, across, websocket, nats) {
                (true, ..) => What::File,
                (_, true, ..) => What::Limits,
                (_, _, true, ..) => What::Database,
                (.., true, _, _, _) => What::Nodes,
                (.., true, _, _) => What::Across,
                (.., true, _) => What::WebSocket,
                (.., true) => What::Nats,
                _ => What::Server,
            };
            how.show(&compare::run(&scenario, rounds, what).await?)
        }
        Command::Crowd {
            crowd,
            rounds,
            scenario,
        } => how.show(&crowd::run(crowd, &scenario, rounds).await?),
        #[cfg(feature = "scale")]
        Command::Scale(load) => how.show(&scale::run(load).await?),
        Command::Relay { listen } => relay::serve(listen).await,
        Command::Serve { listen, accounts } => crowd::serve(listen, accounts).await,
    }
}

/// How figures are shown.
#[derive(Clone, Copy)]
struct How<'a> {
    json: bool,
    svg: Option<&'a Path>,
}

impl How<'_> {
    fn show<T: Serialize + Display + Pictured>(self, figures: &T) -> Result<(), Failed> {
        if let Some(file) = self.svg {
            std::fs::write(file, Picture(figures.charts()).to_string())?;
        }
        if self.json {
            println!("{}", serde_json::to_string(figures)?);
        } else {
            println!("{figures}");
        }
        Ok(())
    }
}
