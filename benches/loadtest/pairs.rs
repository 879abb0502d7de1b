//! Pairs of a sender and a recipient. A sender has a window of messages under way, and sends the next
//! when one is answered.

use crate::Failed;
use crate::figures::Figures;
use crate::flow::{Flow, Progress};
use crate::wire::{Target, User, Wire, is_accepted, write_numbers};
use clap::Args;
use std::sync::Arc;
use tokio::sync::watch;

/// What is done to the server.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// How many pairs.
    #[arg(long, default_value_t = 50)]
    pub(crate) pairs: usize,
    /// How many messages of a sender are under way.
    #[arg(long, default_value_t = 16)]
    pub(crate) window: u64,
    /// Bytes of a body, 32 at the least.
    #[arg(long, default_value_t = 100)]
    pub(crate) body: usize,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
}

/// What a sender sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) window: u64,
    pub(crate) body: usize,
    /// Bytes of an attachment.
    pub(crate) attached: usize,
    /// The most bytes that are written at once, when there are more.
    pub(crate) piece: Option<usize>,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, 2 * load.pairs).await?;
    let sent = Sent {
        window: load.window,
        body: load.body,
        attached: 0,
        piece: None,
    };
    let mut flow = Flow::begin();
    for pair in users.chunks_exact(2) {
        add(&mut flow, target, &pair[0], &pair[1], sent).await?;
    }
    flow.measure(target, load.seconds, 1).await
}

/// Adds a sender and its recipient.
pub(crate) async fn add(
    flow: &mut Flow,
    target: Target,
    from: &User,
    to: &User,
    sent: Sent,
) -> Result<(), Failed> {
    let (total, of_all) = watch::channel(u64::MAX);
    flow.receive(target, to, of_all).await?;
    let wire = Wire::connect(target, from).await?;
    let (from, to) = (from.clone(), to.clone());
    let progress = Arc::clone(&flow.progress);
    flow.sending
        .spawn(send(wire, from, to, sent, progress, total));
    Ok(())
}

/// Sends until the run ends; how many were sent.
pub(crate) async fn send(
    mut wire: Wire,
    from: User,
    to: User,
    what: Sent,
    progress: Arc<Progress>,
    total: watch::Sender<u64>,
) -> Result<u64, Failed> {
    let mut body = vec![b'x'; what.body.max(32)];
    let attached = vec![b'A'; what.attached];
    let (mut sent, mut answered) = (0, 0);
    while !progress.has_ended() || answered < sent {
        if !progress.has_ended() {
            let now = progress.now();
            while sent - answered < what.window {
                write_numbers(&mut body, sent, now);
                wire.send(&to, &from, &body, &attached);
                sent += 1;
            }
            match what.piece {
                Some(piece) => wire.flush_in(piece).await?,
                None => wire.flush().await?,
            }
        }
        let mut frame = Some(wire.frame().await?);
        while let Some(received) = frame {
            answered += u64::from(is_accepted(&received)?);
            frame = wire.received()?;
        }
    }
    // A recipient that has everything may be gone.
    let _all_received = total.send(sent);
    Ok(sent)
}
