//! A message through the engine in memory: from the request to the recipient's event, without a
//! socket.

#![allow(missing_docs)] // criterion's macros
#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use messenger_core::proto::{Auth, Inbound, Register, SendMessage};
use messenger_core::{Connection, Engine, Policy};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Runtime;

async fn join(engine: &Engine, login: &'static str) -> Connection {
    let session = engine.connect();
    let account = Register {
        login: login.into(),
        pass: "secret".into(),
        nick: login.into(),
    };
    session.call(account).await.unwrap();
    let auth = Auth {
        login: login.into(),
        pass: "secret".into(),
        ack: false,
    };
    session.call(auth).await.unwrap();
    session
}

fn message(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut policy = Policy::default();
    policy.limits.inbox.messages = u64::MAX;
    let (ann, bob) = runtime.block_on(async {
        let engine = Engine::builder().policy(policy).build().unwrap();
        (join(&engine, "ann").await, join(&engine, "bob").await)
    });
    let mut group = criterion.benchmark_group("message-in-memory");
    for (name, size) in [("100B", 100), ("1KB", 1000), ("64KB", 64 * 1024)] {
        let request = SendMessage {
            uid: "bob".into(),
            body: "x".repeat(size).into(),
            ..SendMessage::default()
        };
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            let mut cx = Context::from_waker(Waker::noop());
            bencher.iter(|| {
                let mut handled = Box::pin(ann.handle(Inbound::new(request.clone())));
                let reply = handled.as_mut().poll(&mut cx);
                while let Poll::Ready(Ok(delivery)) = bob.poll_event(&mut cx) {
                    if let Some(token) = delivery.token {
                        bob.delivered([token]);
                    }
                }
                reply
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = message
}
criterion_main!(benches);
