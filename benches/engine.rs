//! A message through the engine in memory: from the request to the recipient's event, without a
//! socket. Then what the limit of messages in time costs, where nobody reaches it.

#![allow(missing_docs)] // criterion's macros
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a benchmark that cannot run is over

use benches::join;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use messenger_core::policy::{Rate, Rates};
use messenger_core::proto::SendMessage;
use messenger_core::{Connection, Engine, Policy};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A sender and a recipient.
struct Pair {
    ann: Connection,
    bob: Connection,
}

impl Pair {
    async fn join(policy: Policy) -> Self {
        let engine = Engine::builder().policy(policy).build().unwrap();
        Self {
            ann: join(&engine, "ann").await,
            bob: join(&engine, "bob").await,
        }
    }

    /// Sends it, and receives it.
    fn exchange(&self, request: &SendMessage) {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(sent) = pin!(self.ann.call(request.clone())).poll(&mut cx) else {
            panic!("a store in memory lets nobody wait");
        };
        sent.unwrap();
        let Poll::Ready(Ok(delivery)) = self.bob.poll_event(&mut cx) else {
            panic!("the message has not come");
        };
        self.bob.delivered(delivery.token);
    }
}

fn to_bob(size: usize) -> SendMessage {
    SendMessage::new("bob", "x".repeat(size))
}

fn message(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let pair = runtime.block_on(Pair::join(benches::unlimited()));
    let mut group = criterion.benchmark_group("message-in-memory");
    for (name, size) in [("100B", 100), ("1KB", 1000), ("64KB", 64 * 1024)] {
        let request = to_bob(size);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| bencher.iter(|| pair.exchange(&request)));
    }
    group.finish();
}

/// The limits in time that are on unless told otherwise, but of messages and their bytes more than anybody sends.
fn limited() -> Policy {
    let more = Rate::new(u32::MAX, Duration::from_secs(1));
    let mut rates = Rates::default();
    rates.messages = more;
    rates.message_bytes = more;
    let mut policy = benches::unlimited();
    policy.rates = Some(rates);
    policy
}

/// Both in turns, so that what the machine does meanwhile befalls both.
fn limit(_: &mut Criterion) {
    let (rounds, messages) = match benches::is_short() {
        true => (1, 100),
        false => (500, 5_000),
    };
    let runtime = Runtime::new().unwrap();
    let policies = [limited(), benches::unlimited()];
    let pairs = policies.map(|policy| runtime.block_on(Pair::join(policy)));
    let request = to_bob(100);
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        for (pair, times) in pairs.iter().zip(&mut times) {
            let began = Instant::now();
            (0..messages).for_each(|_| pair.exchange(&request));
            times.push(began.elapsed() / messages);
        }
    }
    let [with, without] = times.map(median);
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("100 bytes with the limit of messages {with:?}, without {without:?}: {ratio:.2}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = message, limit
}
criterion_main!(benches);
