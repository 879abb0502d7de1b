//! One message at a time over loopback: sent, stored, answered, and received by its recipient.

#![allow(missing_docs)] // criterion's macros
#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use messenger_client::proto::Password;
use messenger_client::{Client, Events, connect};
use messenger_core::Engine;
use messenger_server::{Server, Transport};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

async fn start() -> SocketAddr {
    let engine = Engine::builder().policy(benches::unlimited());
    let server = Server::new(engine.build().unwrap(), Transport::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}

async fn join(address: SocketAddr, login: &str) -> (Client, Events) {
    let (client, events) = connect(address).await.unwrap();
    let pass = Password::md5_of("secret");
    client.register(login, &pass, login).await.unwrap();
    client.auth(login, &pass).await.unwrap();
    (client, events)
}

fn message(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("message-over-loopback");
    group.throughput(Throughput::Elements(1));
    for (name, size) in [("100B", 100), ("1KB", 1000), ("64KB", 64 * 1024)] {
        let (ann, mut bob) = runtime.block_on(async {
            let address = start().await;
            let (ann, copies) = join(address, "ann").await;
            drop(copies);
            let (bob, events) = join(address, "bob").await;
            ((ann), (bob, events))
        });
        let body = "x".repeat(size);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    // A refusal ends it, and nothing is waited for in vain.
                    let sent = async { Ok(ann.send("bob", &body).await.unwrap()) };
                    let received = async { bob.1.next_message().await };
                    tokio::try_join!(sent, received).unwrap()
                })
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
