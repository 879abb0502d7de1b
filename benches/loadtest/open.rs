//! Messages at a fixed rate, whatever becomes of those before: how long one takes counts from when it
//! was due, so that a server which stands still is not spared what would have been sent meanwhile.

use crate::Failed;
use crate::figures::Figures;
use crate::flow::{Flow, Progress};
use crate::wire::{Target, User, Wire, is_accepted, write_numbers};
use clap::Args;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// Messages a second, of all pairs together.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// How many pairs of a sender and a recipient.
    #[arg(long, default_value_t = 50)]
    pub(crate) pairs: usize,
    /// Bytes of a body, 32 at the least.
    #[arg(long, default_value_t = 100)]
    body: usize,
    /// Seconds that are measured, after one to warm up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) async fn run(target: Target, load: Load) -> Result<Figures, Failed> {
    let users = User::register_all(target, 2 * load.pairs).await?;
    measure(target, &users, load).await
}

/// Measures pairs of these users.
pub(crate) async fn measure(target: Target, users: &[User], load: Load) -> Result<Figures, Failed> {
    let mut flow = Flow::begin();
    let mut clocks = Vec::new();
    for pair in users.chunks_exact(2) {
        let (from, to) = (pair[0].clone(), pair[1].clone());
        let (total, of_all) = watch::channel(u64::MAX);
        flow.receive(target, &to, of_all).await?;
        let wire = Wire::connect(target, &from).await?;
        let (clock, due) = mpsc::unbounded_channel();
        clocks.push(clock);
        flow.sending
            .spawn(send(wire, from, to, load.body, due, total));
    }
    let progress = Arc::clone(&flow.progress);
    // A thread of its own: the runtime's clock knows nothing shorter than a millisecond.
    std::thread::spawn(move || tick(load.rate, &clocks, &progress));
    flow.measure(target, load.seconds, 1).await
}

/// Tells the senders in turns when a message is due, in microseconds since the beginning.
fn tick(rate: u32, clocks: &[mpsc::UnboundedSender<u64>], progress: &Progress) {
    let every = 1e6 / f64::from(rate);
    let began = progress.now();
    for (number, clock) in clocks.iter().cycle().enumerate() {
        if progress.has_ended() {
            return;
        }
        let after = Duration::from_secs_f64(number as f64 * every / 1e6);
        let due = began + u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let early = due.saturating_sub(progress.now());
        if early > 0 {
            std::thread::sleep(Duration::from_micros(early));
        }
        // A sender that has failed tells why itself.
        let _ = clock.send(due);
    }
}

/// Sends what is due until nothing will be any more; how many were sent.
async fn send(
    mut wire: Wire,
    from: User,
    to: User,
    body: usize,
    mut due: mpsc::UnboundedReceiver<u64>,
    total: watch::Sender<u64>,
) -> Result<u64, Failed> {
    let mut body = vec![b'x'; body.max(32)];
    let (mut sent, mut answered) = (0, 0);
    let mut has_ended = false;
    while !has_ended || answered < sent {
        tokio::select! {
            at = due.recv(), if !has_ended => match at {
                Some(at) => {
                    write_numbers(&mut body, sent, at);
                    wire.send(&to, &from, &body, &[]);
                    sent += 1;
                    wire.flush().await?;
                }
                None => has_ended = true,
            },
            frame = wire.frame() => answered += u64::from(is_accepted(&frame?)?),
        }
    }
    // A recipient that has everything may be gone.
    let _all_received = total.send(sent);
    Ok(sent)
}
