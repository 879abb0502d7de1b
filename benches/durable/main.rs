//! What durability costs: messages a second by the number of concurrent senders, on a file, in
//! memory, and beside the least that any durable store must do.
//!
//! Each sender waits for its answer before it sends again, and each has a recipient that is online:
//! messages are stored, answered, given, and pruned. `bare` has the same senders hand the same bytes
//! to a thread that appends what has queued to a file, syncs it, and answers everyone. All of that on a quiet disk, and
//! beside somebody else who writes to it.
//!
//! With the argument `timeline` it tells where the file's time goes instead.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a benchmark that cannot run is over

mod bare;
mod busy;
mod timeline;
mod workload;

use bare::Bare;
use busy::Other;
use futures_util::future::join_all;
use messenger_core::Engine;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::proto::Message;
use messenger_core::storage::{NewMessage, Storage};
use messenger_sqlite::SqliteStorage;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use workload::Sent;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bytes of a body, and about those of everything that is stored of a message.
const BODY: usize = 100;
const RECORD: usize = 200;

/// What is measured.
struct Plan {
    /// How many senders there are at once, one number after the other.
    senders: &'static [usize],
    /// How long one measurement takes.
    time: Duration,
    /// How many times each is measured, in turns; the median counts.
    rounds: usize,
    /// How many messages are stored for each of 100 recipients before a store counts as full.
    stored: usize,
}

const WHOLE: Plan = Plan {
    senders: &[1, 10, 50, 100, 1000],
    time: Duration::from_millis(1500),
    rounds: 3,
    stored: 10_000,
};

/// Shows that it works.
const SHORT: Plan = Plan {
    senders: &[1, 10],
    time: Duration::from_millis(100),
    rounds: 1,
    stored: 10,
};

fn main() {
    let runtime = Runtime::new().unwrap();
    let plan = if benches::is_short() { SHORT } else { WHOLE };
    // On a disk: the folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if benches::is_short() || std::env::args().any(|arg| arg == "timeline") {
        timeline::run(&runtime, folder.path(), &plan);
    }
    if std::env::args().any(|arg| arg == "timeline") {
        return;
    }
    by_senders(&runtime, folder.path(), &plan);
    with_many_stored(&runtime, folder.path(), &plan);
}

/// What a store with a million messages costs, beside an empty one.
fn with_many_stored(runtime: &Runtime, folder: &Path, plan: &Plan) {
    const RECIPIENTS: usize = 100;
    const SENDERS: usize = 100;
    let full = folder.join("full.db");
    let store = SqliteStorage::open(&full).unwrap();
    runtime.block_on(fill(Arc::new(store), RECIPIENTS, plan.stored, BODY));
    let bytes = std::fs::metadata(&full).unwrap().len();
    let stored = RECIPIENTS * plan.stored;
    println!(
        "{stored} messages stored: {} bytes each",
        bytes / stored as u64
    );
    let mut rates = [const { Vec::new() }; 2];
    let mut opening = Vec::new();
    for round in 0..plan.rounds {
        let empty = folder.join(format!("empty-{round}.db"));
        for (rates, path) in rates.iter_mut().zip([&empty, &full]) {
            let opened = Instant::now();
            let store = Arc::new(SqliteStorage::open(path).unwrap());
            if *path == full {
                opening.push(opened.elapsed().as_secs_f64());
            }
            rates.push(runtime.block_on(async {
                let engine = workload::engine(Engine::builder().storage(store));
                workload::run(&engine, round, SENDERS, BODY, plan.time)
                    .await
                    .rate
            }));
        }
    }
    let [empty, full] = rates.map(median);
    println!("opened in {:.1} ms", median(opening) * 1000.0);
    println!(
        "{SENDERS} senders: {full:.0} messages a second, {:.2} of an empty store's {empty:.0}",
        full / empty
    );
}

fn by_senders(runtime: &Runtime, folder: &Path, plan: &Plan) {
    println!(
        "senders  disk   |    memory     bare (batch)      file  file/bare | p99 of bare   file  file/bare (ms)"
    );
    for &senders in plan.senders {
        for is_busy in [false, true] {
            let other = is_busy.then(|| Other::write(folder));
            let mut sent = [const { Vec::new() }; 3];
            let mut batch = 0.0;
            for round in 0..plan.rounds {
                let bare = Bare::open(&folder.join("bare")).unwrap();
                sent[0].push(runtime.block_on(bare.run(senders, RECORD, plan.time)));
                batch = bare.mean_batch();
                let path = folder.join(format!("{senders}-{is_busy}-{round}.db"));
                let file = Arc::new(SqliteStorage::open(path).unwrap());
                sent[1].push(runtime.block_on(async {
                    let engine = workload::engine(Engine::builder().storage(file));
                    workload::run(&engine, round, senders, BODY, plan.time).await
                }));
                sent[2].push(runtime.block_on(async {
                    let engine = workload::engine(Engine::builder());
                    workload::run(&engine, round, senders, BODY, plan.time).await
                }));
            }
            drop(other);
            let disk = if is_busy { "busy" } else { "quiet" };
            let of = |of: fn(&Sent) -> f64| {
                sent.each_ref()
                    .map(|sent| median(sent.iter().map(of).collect()))
            };
            let [bare, file, memory] = of(|sent| sent.rate);
            let [bare_p99, file_p99, _] = of(|sent| sent.p99);
            println!(
                "{senders:7}  {disk:<6} | {memory:9.0} {bare:8.0} ({batch:5.1}) {file:9.0} {:10.2} | {bare_p99:11.2} {file_p99:6.2} {:10.2}",
                file / bare,
                file_p99 / bare_p99
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Has so many messages wait for each of so many recipients.
async fn fill(store: Arc<dyn Storage>, recipients: usize, each: usize, body: usize) {
    for number in 0..recipients {
        let nick = format!("away{number}");
        store
            .upsert_external_user(&nick.as_str().into(), &nick)
            .await
            .unwrap();
    }
    for number in 0..each {
        let appends = (0..recipients).map(|recipient| {
            let message = Message::new(
                format!("{number:016x}-{recipient}"),
                "sender",
                format!("away{recipient}"),
                SystemClock.now().as_secs(),
            )
            .nick("Sender")
            .body("x".repeat(body));
            store.append(NewMessage::new(message, SystemClock.now()))
        });
        for appended in join_all(appends).await {
            appended.unwrap();
        }
    }
}
