//! Large attachments from one user to another.

use crate::Failed;
use crate::figures::Figures;
use crate::flow::Flow;
use crate::pairs::{self, Sent};
use crate::wire::{Target, User};
use clap::Args;

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// Bytes of an attachment.
    #[arg(long, default_value_t = 4 * 1024 * 1024)]
    size: usize,
    /// The sender writes so many bytes at once at the most.
    #[arg(long, default_value_t = 1024 * 1024)]
    piece: usize,
    /// How many messages are under way.
    #[arg(long, default_value_t = 1)]
    window: u64,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, 2).await?;
    let sent = Sent {
        window: load.window,
        body: 0,
        attached: load.size,
        piece: Some(load.piece),
    };
    let mut flow = Flow::begin();
    pairs::add(&mut flow, target, &users[0], &users[1], sent).await?;
    let mut figures = flow.measure(target, load.seconds, 1).await?;
    let rate = figures.get("messages_a_second").unwrap_or_default();
    figures.add("mib_a_second", rate * load.size as f64 / MIB);
    Ok(figures)
}
