//! Connections that do nothing, and the memory that the server has for each.

use crate::Failed;
use crate::figures::Figures;
use crate::process::usage;
use crate::wire::{Target, User, Wire};
use clap::Args;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How many users the connections belong to.
const USERS: usize = 20;

/// How many connect at once.
const AT_ONCE: usize = 100;

/// Memory is steady when it has not changed for so long.
const STEADY: Duration = Duration::from_millis(500);

/// How long it is waited for.
const PATIENCE: usize = 20;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// They do not authenticate.
    #[arg(long)]
    no_auth: bool,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let pid = target
        .pid
        .ok_or("to tell its memory, --server-pid is needed")?;
    let before = steady_kib(pid).await?;
    let users = User::register_all(target, USERS).await?;
    let wires = connect(target, &users, load.connections, !load.no_auth).await?;
    let after = steady_kib(pid).await?;
    let mut figures = Figures::default();
    figures.add("connections", wires.len() as f64);
    figures.add("server_before_kib", before as f64);
    figures.add("server_after_kib", after as f64);
    let grown = after.saturating_sub(before) as f64;
    figures.add("kib_each", grown / wires.len() as f64);
    Ok(figures)
}

/// So many connections of these users.
pub(crate) async fn connect(
    target: Target,
    users: &[User],
    count: usize,
    auth: bool,
) -> Result<Vec<Wire>, Failed> {
    let mut wires = Vec::new();
    let mut connecting = JoinSet::new();
    for (number, user) in users.iter().cycle().take(count).enumerate() {
        if connecting.len() == AT_ONCE
            && let Some(wire) = connecting.join_next().await
        {
            wires.push(wire??);
        }
        if number > 0 && number % 1000 == 0 {
            eprintln!("{number} of {count} are connected");
        }
        let user = user.clone();
        connecting.spawn(async move {
            let mut wire = if auth {
                Wire::connect(target, &user).await?
            } else {
                Wire::connect_unknown(target).await?
            };
            wire.rest();
            Ok::<_, Failed>(wire)
        });
    }
    while let Some(wire) = connecting.join_next().await {
        wires.push(wire??);
    }
    Ok(wires)
}

/// The process's memory once it does not change any more.
async fn steady_kib(pid: u32) -> Result<u64, Failed> {
    let mut last = usage(pid)?.resident_kib;
    for _ in 0..PATIENCE {
        sleep(STEADY).await;
        let now = usage(pid)?.resident_kib;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}
