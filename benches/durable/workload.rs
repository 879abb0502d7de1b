//! Pairs of a sender and a recipient that is online, on an engine without sockets.

use benches::join;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{ErrorCode, SendMessage};
use messenger_core::{Builder, Connection, Engine};
use std::time::{Duration, Instant};

pub(crate) fn engine(builder: Builder) -> Engine {
    let mut policy = benches::unlimited();
    policy.passwords.waiting = 100_000;
    // In memory a sender can be quicker than its recipient, who must not fall behind for ever, nor a thousand of them until
    // there is no memory left for messages.
    policy.limits.inbox = InboxLimits::new(1_000, 1024 * 1024);
    builder.policy(policy).build().unwrap()
}

/// What senders saw that each wait for their answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// How many answers came a second.
    pub(crate) rate: f64,
    /// How long all but a hundredth of them took, in milliseconds.
    pub(crate) p99: f64,
}

impl Sent {
    /// From how long each answer took each sender, in microseconds.
    pub(crate) fn of(times: Vec<Vec<u32>>, since: Instant) -> Self {
        let seconds = since.elapsed().as_secs_f64();
        let mut times = times.concat();
        let at = times.len() * 99 / 100;
        let (_, p99, _) = times.select_nth_unstable(at);
        let p99 = f64::from(*p99) / 1000.0;
        let rate = times.len() as f64 / seconds;
        Self { rate, p99 }
    }
}

/// How long it has been, in microseconds.
pub(crate) fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap()
}

/// Has messages sent among people nobody else is in another round: for a device that was here before and
/// is away, messages would be kept.
pub(crate) async fn run(
    engine: &Engine,
    round: usize,
    senders: usize,
    body: usize,
    time: Duration,
) -> Sent {
    run_after(engine, round, senders, body, time, async {}).await
}

/// The same; `ready` is awaited when all are there.
pub(crate) async fn run_after<T>(
    engine: &Engine,
    round: usize,
    senders: usize,
    body: usize,
    time: Duration,
    ready: impl Future<Output = T>,
) -> Sent {
    let mut pairs = Vec::new();
    for number in 0..senders {
        let recipient = format!("recipient{round}-{number}");
        let session = join(engine, &recipient).await;
        let reading = tokio::spawn(read(session));
        let sender = join(engine, &format!("sender{round}-{number}")).await;
        let request = SendMessage::new(recipient, "x".repeat(body));
        pairs.push((sender, request, reading));
    }
    ready.await;
    let started = Instant::now();
    let end = started + time;
    let (mut sending, mut reading) = (Vec::new(), Vec::new());
    for (sender, request, reader) in pairs {
        sending.push(tokio::spawn(send(sender, request, end)));
        reading.push(reader);
    }
    let mut times = Vec::new();
    for sender in sending {
        times.push(sender.await.unwrap());
    }
    let sent = Sent::of(times, started);
    for reader in reading {
        reader.abort();
    }
    sent
}

async fn send(session: Connection, request: SendMessage, end: Instant) -> Vec<u32> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let asked = Instant::now();
        match session.call(request.clone()).await {
            Ok(_) => times.push(micros(asked)),
            // Not counted: the recipient is behind.
            Err(failure) if failure.code == ErrorCode::InboxFull => tokio::task::yield_now().await,
            Err(failure) => panic!("{failure}"),
        }
    }
    times
}

async fn read(mut session: Connection) {
    while session.next_message().await.is_ok() {}
}
