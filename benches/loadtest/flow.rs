//! Messages on their way from senders to recipients, and what the recipients see.

use crate::Failed;
use crate::figures::Figures;
use crate::process::Meter;
use crate::wire::{Target, User, Wire, numbers};
use hdrhistogram::Histogram;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

const WARM_UP: Duration = Duration::from_secs(1);

/// How long what is under way may take to arrive at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Senders and recipients.
pub(crate) struct Flow {
    pub(crate) progress: Arc<Progress>,
    /// Each tells how many it has sent.
    pub(crate) sending: JoinSet<Result<u64, Failed>>,
    receiving: JoinSet<Result<Seen, Failed>>,
}

/// What they share.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    /// How many messages have arrived.
    given: AtomicU64,
    measures: AtomicBool,
    ends: AtomicBool,
}

impl Progress {
    /// Microseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// True once no more are to be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }
}

/// What a recipient saw.
struct Seen {
    times: Histogram<u64>,
    arrived: u64,
    /// Arrived other than right behind the one that was sent before.
    out_of_order: u64,
}

impl Flow {
    pub(crate) fn begin() -> Self {
        let progress = Progress {
            began: Instant::now(),
            given: AtomicU64::new(0),
            measures: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        };
        Self {
            progress: Arc::new(progress),
            sending: JoinSet::new(),
            receiving: JoinSet::new(),
        }
    }

    /// Has this user receive through one more connection, until as many have come as `total` tells in
    /// the end.
    pub(crate) async fn receive(
        &mut self,
        target: Target,
        user: &User,
        total: watch::Receiver<u64>,
    ) -> Result<(), Failed> {
        let wire = Wire::connect(target, user).await?;
        let progress = Arc::clone(&self.progress);
        self.receiving.spawn(receive(wire, progress, total));
        Ok(())
    }

    /// Measures for so many seconds, and waits for what is under way. Each message has so many
    /// recipients.
    pub(crate) async fn measure(
        mut self,
        target: Target,
        seconds: u64,
        recipients: u64,
    ) -> Result<Figures, Failed> {
        let progress = self.progress;
        sleep(WARM_UP).await;
        let before = progress.given.load(Ordering::Relaxed);
        let meter = Meter::begin(target)?;
        progress.measures.store(true, Ordering::Relaxed);
        for second in 1..=seconds {
            let given = progress.given.load(Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            let given = progress.given.load(Ordering::Relaxed) - given;
            eprintln!("second {second:2}: {given} messages");
        }
        progress.measures.store(false, Ordering::Relaxed);
        let given = progress.given.load(Ordering::Relaxed) - before;
        let mut figures = meter.end("messages_a_second", given)?;
        progress.ends.store(true, Ordering::Relaxed);
        let mut sent = 0;
        while let Some(sender) = self.sending.join_next().await {
            sent += sender??;
        }
        let mut all = Seen::new()?;
        while let Some(recipient) = self.receiving.join_next().await {
            let seen = recipient??;
            all.times.add(&seen.times)?;
            all.arrived += seen.arrived;
            all.out_of_order += seen.out_of_order;
        }
        figures.add_times(&all.times);
        let lost = (sent * recipients).saturating_sub(all.arrived);
        figures.add("lost", lost as f64);
        figures.add("out_of_order", all.out_of_order as f64);
        Ok(figures)
    }
}

impl Seen {
    fn new() -> Result<Self, Failed> {
        Ok(Self {
            times: Histogram::new(3)?,
            arrived: 0,
            out_of_order: 0,
        })
    }
}

async fn receive(
    mut wire: Wire,
    progress: Arc<Progress>,
    mut total: watch::Receiver<u64>,
) -> Result<Seen, Failed> {
    let mut seen = Seen::new()?;
    let mut next = 0;
    let mut patience = pin!(sleep(Duration::MAX));
    while seen.arrived < *total.borrow() {
        let frame = tokio::select! {
            frame = wire.frame() => frame?,
            Ok(()) = total.changed() => {
                patience.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                continue;
            }
            () = &mut patience => break,
        };
        let mut frame = Some(frame);
        let now = progress.now();
        let mut given = 0;
        while let Some(received) = frame {
            if let Some((number, sent)) = numbers(&received) {
                given += 1;
                seen.out_of_order += u64::from(number != next);
                next = number + 1;
                if progress.measures.load(Ordering::Relaxed) {
                    seen.times.record(now.saturating_sub(sent).max(1))?;
                }
            }
            frame = wire.received()?;
        }
        seen.arrived += given;
        progress.given.fetch_add(given, Ordering::Relaxed);
    }
    Ok(seen)
}
