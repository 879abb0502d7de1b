//! Messages that have waited for somebody who comes back.

use crate::Failed;
use crate::figures::Figures;
use crate::process::Meter;
use crate::wire::{Target, User, Wire, is_accepted, numbers, write_numbers};
use clap::Args;

/// How many messages are under way while they are sent.
const WINDOW: u64 = 64;

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many messages wait; an inbox has 10,000 at the most by default.
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    /// Bytes of a body, 32 at the least.
    #[arg(long, default_value_t = 100)]
    body: usize,
}

/// Measured from when the recipient connects.
pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, 2).await?;
    let (from, to) = (&users[0], &users[1]);
    let mut sender = Wire::connect(target, from).await?;
    let mut body = vec![b'x'; load.body.max(32)];
    let (mut sent, mut answered) = (0, 0);
    while answered < load.messages {
        while sent < load.messages && sent - answered < WINDOW {
            write_numbers(&mut body, sent, 0);
            sender.send(to, from, &body, &[]);
            sent += 1;
        }
        sender.flush().await?;
        answered += u64::from(is_accepted(&sender.frame().await?)?);
    }
    eprintln!("{sent} messages wait");
    let meter = Meter::begin(target)?;
    let mut recipient = Wire::connect(target, to).await?;
    let (mut next, mut out_of_order) = (0, 0_u64);
    while next < load.messages {
        let frame = recipient.frame().await?;
        if let Some((number, _)) = numbers(&frame) {
            out_of_order += u64::from(number != next);
            next = number + 1;
        }
    }
    let mut figures = meter.end("messages_a_second", load.messages)?;
    figures.add("out_of_order", out_of_order as f64);
    Ok(figures)
}
