//! Measures a messenger server under load, and beside it a relay: the least that a server could do.
//!
//! `cargo run --release -p benches --bin loadtest -- --help`

#![allow(clippy::indexing_slicing)] // of what this program itself has measured or framed

mod compare;
mod pairs;
mod process;
mod relay;
mod wire;

use clap::{Args, Parser, Subcommand};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, in a sentence.
type Failed = Box<dyn Error + Send + Sync>;

/// Measures a messenger server under load.
///
/// Start the server with --no-rate-limits, or it does as it is told and refuses.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pairs of a sender and a recipient: messages a second, and how long one takes.
    Pairs {
        /// Where the server listens.
        #[arg(long, default_value = "127.0.0.1:7788")]
        server: SocketAddr,
        /// It is a relay.
        #[arg(long)]
        is_relay: bool,
        /// The server's process, to tell its processor time and memory.
        #[arg(long)]
        server_pid: Option<u32>,
        #[command(flatten)]
        load: Load,
        /// Print the figures as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Serves as a relay: frames are handed on as they are.
    Relay {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Runs the server and the relay in turns, and prints their ratios. The server is the one built
    /// beside this program.
    Compare {
        #[command(flatten)]
        load: Load,
        /// How many turns each has.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Where the server keeps its data, as its own --store.
        #[arg(long, default_value = "memory:")]
        store: String,
        /// Print the figures as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What is done to the server.
#[derive(Clone, Copy, Debug, Args)]
struct Load {
    /// How many pairs.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// How many messages of a sender are under way.
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// Bytes of a body, 32 at the least.
    #[arg(long, default_value_t = 100)]
    body: usize,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("it did not work: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failed> {
    match command {
        Command::Pairs {
            server,
            is_relay,
            server_pid,
            load,
            json,
        } => {
            let peer = wire::Peer {
                address: server,
                is_relay,
            };
            let figures = pairs::run(peer, load, server_pid).await?;
            print(&figures, json)
        }
        Command::Relay { listen } => relay::serve(listen).await,
        Command::Compare {
            load,
            rounds,
            store,
            json,
        } => print(&compare::run(load, rounds, &store).await?, json),
    }
}

fn print<T: serde::Serialize + std::fmt::Display>(figures: &T, json: bool) -> Result<(), Failed> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        println!("{figures}");
    }
    Ok(())
}
