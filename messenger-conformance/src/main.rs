//! Holds any server of the messenger protocol to its PROTOCOL.md, rule by rule, over TCP, WebSocket, or both.
//!
//! ```text
//! $ messenger-server --store memory: --ws-listen 127.0.0.1:7791 &
//! $ messenger-conformance --addr 127.0.0.1:7788 --ws ws://127.0.0.1:7791/
//! ```
//!
//! It prints a line for each rule, with the section of PROTOCOL.md under which the rule stands. Of a rule that is broken it shows what was sent,
//! what was expected, and what came. The exit code is 0 when all rules are kept, and 1 otherwise. `--rule message/mid` checks only the rules
//! whose names begin so, and `--json` prints a list for programs.
//!
//! The rules are files, in `vectors`, for any language; the README there tells what they mean.
//!
//! # Guarantees
//!
//! That it finds what is wrong shows a test with a server whose answers are spoilt on their way, each time in another manner.
//!
//! # Limits
//!
//! - It makes some 200 accounts for each transport, under names of chance, and leaves them there: let it have a server of its own.
//! - The limits of a server's settings have to be the defaults, and the limits in time have to let it do that. Ours exempts loopback addresses; elsewhere,
//!   start it with `--no-rate-limits`.

mod compare;
mod connection;
mod names;
mod player;
mod report;
mod rule;

use clap::Parser;
use connection::Target;
use player::play;
use report::{Outcome, Report};
use std::process::ExitCode;
use std::time::Duration;

/// Holds a server to the protocol, rule by rule. The exit code is 0 when all of them are kept, and 1 otherwise.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the server listens for TCP
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "ws")]
    addr: Option<String>,
    /// Where it listens for WebSocket, such as ws://127.0.0.1:7791/
    #[arg(long, value_name = "URL")]
    ws: Option<String>,
    /// Only the rules whose names begin so, such as ack or message/mid
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    rule: String,
    /// How long the server may take for anything, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
    /// Prints a list of JSON objects, one a rule, instead of a table
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = match check(&arguments).await {
        Ok(report) => report,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Plays every rule that was asked for, over every transport that was; a sentence if that cannot be.
async fn check(arguments: &Arguments) -> Result<Report, String> {
    let tcp = arguments.addr.clone().map(Target::Tcp);
    let websocket = arguments.ws.clone().map(Target::WebSocket);
    let rules = rule::all(&arguments.rule)?;
    let patience = Duration::from_secs(arguments.patience);
    let mut report = Report::default();
    for target in tcp.iter().chain(&websocket) {
        for rule in &rules {
            if rule.holds_over(target.transport()) {
                let fault = play(rule, target, patience).await.err();
                report.add(Outcome::new(rule, target.transport(), fault));
            }
        }
    }
    Ok(report)
}
