//! Pairs of a sender and a recipient. A sender has a window of messages under way, and sends the next
//! when one is answered.

use crate::process::{Usage, usage};
use crate::wire::{ANSWER, EVENT, Peer, User, Wire, numbers, write_numbers};
use crate::{Failed, Load};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How many register at once.
const REGISTERING: usize = 4;

const WARM_UP: Duration = Duration::from_secs(1);

/// How long what is under way may take to arrive at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was measured. Times are from the sender's writing to the recipient's reading, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) messages_a_second: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) longest: u64,
    pub(crate) lost: u64,
    /// Arrived other than right behind the one that was sent before.
    pub(crate) out_of_order: u64,
    /// Processor seconds for a million messages.
    pub(crate) tool_cpu: f64,
    pub(crate) server_cpu: Option<f64>,
    pub(crate) server_peak_kib: Option<u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "messages a second   {:.0}", self.messages_a_second)?;
        writeln!(
            f,
            "latency, µs         p50 {}, p90 {}, p99 {}, p99.9 {}, longest {}",
            self.p50, self.p90, self.p99, self.p999, self.longest
        )?;
        writeln!(f, "lost                {}", self.lost)?;
        writeln!(f, "out of order        {}", self.out_of_order)?;
        write!(f, "CPU, s a million    {:.2} this tool", self.tool_cpu)?;
        if let Some(server) = self.server_cpu {
            write!(f, ", {server:.2} the server")?;
            if self.tool_cpu > server {
                write!(
                    f,
                    "\nthe tool took more than the server: it may be what bounds the figures"
                )?;
            }
        }
        if let Some(peak) = self.server_peak_kib {
            write!(f, "\nserver's peak       {} MiB", peak / 1024)?;
        }
        Ok(())
    }
}

/// What all pairs share.
#[derive(Debug, Default)]
struct Run {
    /// How many messages have arrived.
    given: AtomicU64,
    measures: AtomicBool,
    ends: AtomicBool,
}

/// What a recipient saw.
struct Seen {
    latency: Histogram<u64>,
    arrived: u64,
    out_of_order: u64,
}

pub(crate) async fn run(
    peer: Peer,
    load: Load,
    server_pid: Option<u32>,
) -> Result<Figures, Failed> {
    let users = register(peer, 2 * load.pairs).await?;
    let run = Arc::new(Run::default());
    let began = Instant::now();
    let (mut sending, mut receiving) = (JoinSet::new(), JoinSet::new());
    for pair in users.chunks_exact(2) {
        let (from, to) = (pair[0].clone(), pair[1].clone());
        let recipient = Wire::connect(peer, &to).await?;
        let sender = Wire::connect(peer, &from).await?;
        let (total, of_all) = watch::channel(u64::MAX);
        receiving.spawn(receive(recipient, Arc::clone(&run), of_all, began));
        sending.spawn(send(sender, from, to, load, Arc::clone(&run), total, began));
    }
    sleep(WARM_UP).await;
    let own = usage(std::process::id())?;
    let server = server_pid.map(usage).transpose()?;
    let before = run.given.load(Ordering::Relaxed);
    let measured = Instant::now();
    run.measures.store(true, Ordering::Relaxed);
    for second in 0..load.seconds {
        let given = run.given.load(Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
        let rate = run.given.load(Ordering::Relaxed) - given;
        eprintln!("second {:2}: {rate} messages", second + 1);
    }
    run.measures.store(false, Ordering::Relaxed);
    let messages = run.given.load(Ordering::Relaxed) - before;
    let seconds = measured.elapsed().as_secs_f64();
    let own = usage(std::process::id())?.cpu - own.cpu;
    let after = server_pid.map(usage).transpose()?;
    run.ends.store(true, Ordering::Relaxed);
    let mut sent = 0;
    while let Some(sender) = sending.join_next().await {
        sent += sender??;
    }
    let mut all = Seen::new()?;
    while let Some(recipient) = receiving.join_next().await {
        let seen = recipient??;
        all.latency.add(&seen.latency)?;
        all.arrived += seen.arrived;
        all.out_of_order += seen.out_of_order;
    }
    let a_million = |cpu: Duration| cpu.as_secs_f64() * 1e6 / messages.max(1) as f64;
    let server_cpu = server
        .zip(after)
        .map(|(before, after)| after.cpu - before.cpu);
    Ok(Figures {
        messages_a_second: messages as f64 / seconds,
        p50: all.latency.value_at_quantile(0.5),
        p90: all.latency.value_at_quantile(0.9),
        p99: all.latency.value_at_quantile(0.99),
        p999: all.latency.value_at_quantile(0.999),
        longest: all.latency.max(),
        lost: sent.saturating_sub(all.arrived),
        out_of_order: all.out_of_order,
        tool_cpu: a_million(own),
        server_cpu: server_cpu.map(a_million),
        server_peak_kib: after.map(|Usage { peak_kib, .. }| peak_kib),
    })
}

async fn register(peer: Peer, count: usize) -> Result<Vec<User>, Failed> {
    #[allow(clippy::disallowed_methods)] // names must differ from those of earlier runs
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let run = u64::try_from(now.as_micros())?;
    let mut users = Vec::new();
    let mut registering = JoinSet::new();
    for number in 0..u32::try_from(count)? {
        if registering.len() == REGISTERING
            && let Some(user) = registering.join_next().await
        {
            users.push(user??);
        }
        registering.spawn(User::register(peer, run, number));
    }
    while let Some(user) = registering.join_next().await {
        users.push(user??);
    }
    Ok(users)
}

/// Sends until the run ends; how many were sent.
async fn send(
    mut wire: Wire,
    from: User,
    to: User,
    load: Load,
    run: Arc<Run>,
    total: watch::Sender<u64>,
    began: Instant,
) -> Result<u64, Failed> {
    let mut body = vec![b'x'; load.body.max(32)];
    let (mut sent, mut answered) = (0, 0);
    while !run.ends.load(Ordering::Relaxed) || answered < sent {
        if !run.ends.load(Ordering::Relaxed) {
            let now = u64::try_from(began.elapsed().as_micros())?;
            while sent - answered < load.window as u64 {
                write_numbers(&mut body, sent, now);
                wire.send(&to, &from, &body);
                sent += 1;
            }
            wire.flush().await?;
        }
        let mut frame = Some(wire.frame().await?);
        // Its own copies are none of its concern.
        while let Some(received) = frame {
            if received.starts_with(ANSWER) {
                if memchr::memmem::find(&received, br#""status":0"#).is_none() {
                    return Err("a message was refused (--no-rate-limits?)".into());
                }
                answered += 1;
            }
            frame = wire.received()?;
        }
    }
    // A recipient that has everything may be gone.
    let _all_received = total.send(sent);
    Ok(sent)
}

impl Seen {
    fn new() -> Result<Self, Failed> {
        Ok(Self {
            latency: Histogram::new(3)?,
            arrived: 0,
            out_of_order: 0,
        })
    }
}

async fn receive(
    mut wire: Wire,
    run: Arc<Run>,
    mut total: watch::Receiver<u64>,
    began: Instant,
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
        let now = u64::try_from(began.elapsed().as_micros())?;
        let mut given = 0;
        while let Some(received) = frame {
            if received.starts_with(EVENT)
                && let Some((number, sent)) = numbers(&received)
            {
                given += 1;
                seen.out_of_order += u64::from(number != next);
                next = number + 1;
                if run.measures.load(Ordering::Relaxed) {
                    seen.latency.record(now.saturating_sub(sent).max(1))?;
                }
            }
            frame = wire.received()?;
        }
        seen.arrived += given;
        run.given.fetch_add(given, Ordering::Relaxed);
    }
    Ok(seen)
}
