//! Pairs of a sender and a recipient that is online, on an engine without sockets.

use benches::join;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{ErrorCode, SendMessage};
use messenger_core::{Builder, Connection, Engine};
use std::time::{Duration, Instant};

pub(crate) fn engine(builder: Builder) -> Engine {
    let mut policy = benches::unlimited();
    policy.passwords.waiting = 100_000;
    // In memory a sender can be quicker than its recipient, who must not fall behind for ever.
    policy.limits.inbox = InboxLimits::default();
    builder.policy(policy).build().unwrap()
}

/// Messages accepted a second, among people nobody else is in another round: for a device that was
/// here before and is away, messages would be kept.
pub(crate) async fn rate(
    engine: &Engine,
    round: usize,
    senders: usize,
    body: usize,
    time: Duration,
) -> f64 {
    rate_after(engine, round, senders, body, time, async {}).await
}

/// The same; `ready` is awaited when all are there.
pub(crate) async fn rate_after<T>(
    engine: &Engine,
    round: usize,
    senders: usize,
    body: usize,
    time: Duration,
    ready: impl Future<Output = T>,
) -> f64 {
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
    let mut sent = 0;
    for sender in sending {
        sent += sender.await.unwrap();
    }
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    for reader in reading {
        reader.abort();
    }
    rate
}

async fn send(session: Connection, request: SendMessage, end: Instant) -> u64 {
    let mut sent = 0;
    while Instant::now() < end {
        match session.call(request.clone()).await {
            Ok(_) => sent += 1,
            // Not counted: the recipient is behind.
            Err(failure) if failure.code == ErrorCode::InboxFull => tokio::task::yield_now().await,
            Err(failure) => panic!("{failure}"),
        }
    }
    sent
}

async fn read(mut session: Connection) {
    while session.next_event().await.is_ok() {}
}
