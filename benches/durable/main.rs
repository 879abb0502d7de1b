//! What durability costs: messages a second by the number of concurrent senders, on a file, in
//! memory, and beside the least that any durable store must do.
//!
//! Each sender waits for its answer before it sends again, and each has a recipient that is online:
//! messages are stored, answered, given, and pruned. `bare` has the same senders hand the same bytes
//! to a thread that appends what has queued to a file, syncs it, and answers everyone.

#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

mod bare;
mod workload;

use bare::Bare;
use messenger_core::Engine;
use messenger_sqlite::SqliteStorage;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long one measurement takes.
const TIME: Duration = Duration::from_secs(2);

/// How many times each is measured, in turns; the median counts.
const ROUNDS: usize = 3;

/// The bytes of a body, and about those of everything that is stored of a message.
const BODY: usize = 100;
const RECORD: usize = 200;

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir_in(".").unwrap();
    by_senders(&runtime, folder.path());
}

fn by_senders(runtime: &Runtime, folder: &Path) {
    println!("senders     bare (batch)      file   file/bare    memory   file/memory");
    for senders in std::env::var("S").map_or(vec![1, 10, 100, 1000], |s| vec![s.parse().unwrap()]) {
        let mut rates = [const { Vec::new() }; 3];
        let mut batch = 0.0;
        for round in 0..ROUNDS {
            let bare = Bare::open(&folder.join("bare")).unwrap();
            let started = Instant::now();
            let sent = runtime.block_on(bare.run(senders, RECORD, TIME));
            rates[0].push(rate(sent, started));
            batch = bare.mean_batch();
            let path = folder.join(format!("{senders}-{round}.db"));
            let file = Arc::new(SqliteStorage::open(path).unwrap());
            rates[1].push(runtime.block_on(async {
                let engine = workload::engine(Engine::builder().storage(file));
                workload::rate(&engine, senders, BODY, TIME).await
            }));
            rates[2].push(runtime.block_on(async {
                let engine = workload::engine(Engine::builder());
                workload::rate(&engine, senders, BODY, TIME).await
            }));
        }
        let [bare, file, memory] = rates.map(median);
        println!(
            "{senders:7} {bare:8.0} ({batch:5.1}) {file:9.0} {:11.2} {memory:9.0} {:13.2}",
            file / bare,
            file / memory
        );
    }
}

fn rate(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
