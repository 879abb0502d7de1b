//! Messages through the engine by where it keeps them: each is stored, answered, given to its recipient, and pruned. One at a
//! time, and a hundred that are sent at once, as many senders send them.

#![allow(missing_docs)] // criterion's macros
#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

use benches::join;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use messenger_core::proto::SendMessage;
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::{Connection, Engine};
use messenger_sqlite::SqliteStorage;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A sender and a recipient.
struct Pair {
    sender: Connection,
    recipient: Connection,
    request: SendMessage,
}

impl Pair {
    async fn join(engine: &Engine, number: usize) -> Self {
        let recipient = format!("recipient{number}");
        Self {
            sender: join(engine, &format!("sender{number}")).await,
            recipient: join(engine, &recipient).await,
            request: SendMessage::new(recipient, "x".repeat(100)),
        }
    }

    /// Sends it, and receives it, by which the one before counts as delivered.
    async fn exchange(&mut self) {
        self.sender.call(self.request.clone()).await.unwrap();
        self.recipient.next_message().await.unwrap();
    }
}

fn messages(criterion: &mut Criterion) {
    // On a disk: the folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = SqliteStorage::open(folder.path().join("store.db")).unwrap();
    let stores: [(&str, Arc<dyn Storage>); 2] = [
        ("memory", Arc::new(MemoryStorage::new())),
        ("file", Arc::new(file)),
    ];
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("messages-stored");
    for (name, storage) in stores {
        let builder = Engine::builder().policy(benches::unlimited());
        let engine = builder.storage(storage).build().unwrap();
        let mut pairs: Vec<_> = runtime.block_on(async {
            let mut pairs = Vec::new();
            for number in 0..100 {
                pairs.push(Pair::join(&engine, number).await);
            }
            pairs
        });
        for at_once in [1, 100] {
            group.throughput(Throughput::Elements(at_once as u64));
            let id = BenchmarkId::new(name, at_once);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let exchanges = pairs.iter_mut().take(at_once).map(Pair::exchange);
                    runtime.block_on(join_all(exchanges))
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = messages
}
criterion_main!(benches);
