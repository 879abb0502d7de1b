//! One user on several devices, and who writes to them.

use crate::Failed;
use crate::figures::Figures;
use crate::flow::Flow;
use crate::pairs::{self, Sent};
use crate::wire::{Target, User, Wire};
use clap::Args;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many devices, each with a session of its own; a user has eight at the most.
    #[arg(long, default_value_t = 8)]
    devices: usize,
    /// How many messages are under way.
    #[arg(long, default_value_t = 16)]
    window: u64,
    /// Bytes of a body, 32 at the least.
    #[arg(long, default_value_t = 100)]
    body: usize,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// What is told a second is what all devices were given together.
pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, 2).await?;
    let (from, mut to) = (users[0].clone(), users[1].clone());
    let (total, of_all) = watch::channel(u64::MAX);
    let mut flow = Flow::begin();
    for device in 0..load.devices {
        if device > 0 {
            to = to.on_another_device(target).await?;
        }
        flow.receive(target, &to, of_all.clone()).await?;
    }
    let sent = Sent {
        window: load.window,
        body: load.body,
        attached: 0,
        piece: None,
    };
    let wire = Wire::connect(target, &from).await?;
    let progress = Arc::clone(&flow.progress);
    flow.sending
        .spawn(pairs::send(wire, from, to, sent, progress, total));
    flow.measure(target, load.seconds, load.devices as u64)
        .await
}
