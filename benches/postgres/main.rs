//! What a PostgreSQL database costs as a store, beside a file, and beside the least that such a database must do: `pgbench`
//! inserts as many rows of the same bytes in batches as large.
//!
//! It starts a database of its own, with the settings of a server that is not tiny.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a benchmark that cannot run is over

mod bare;
#[path = "../durable/workload.rs"]
#[allow(dead_code)] // the durable bench tells more of it
mod workload;

use futures_util::stream::{self, StreamExt};
use messenger_core::Engine;
use messenger_core::clock::{Clock, SystemClock};
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{
    LOOKED_AT_ONCE, Look, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage,
};
use messenger_postgres::PostgresStorage;
use messenger_sqlite::SqliteStorage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testing_servers::Postgres;
use tokio::runtime::Runtime;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SETTINGS: [&str; 4] = [
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
    "wal_compression=on",
];

/// The bytes of a body.
pub(crate) const BODY: usize = 100;

/// How many messages are under way at once.
const UNDER_WAY: [usize; 2] = [1, 800];

/// What is measured.
struct Plan {
    /// How long one measurement takes.
    time: Duration,
    /// How many times each is measured, in turns; the median counts.
    rounds: usize,
    /// How many sessions come back, and are looked for.
    sessions: usize,
}

const WHOLE: Plan = Plan {
    time: Duration::from_secs(3),
    rounds: 5,
    sessions: 30_000,
};

/// Shows that it works.
const SHORT: Plan = Plan {
    time: Duration::from_millis(200),
    rounds: 1,
    sessions: 100,
};

fn main() {
    let runtime = Runtime::new().unwrap();
    let plan = if benches::is_short() { SHORT } else { WHOLE };
    runtime.block_on(run(&plan));
}

async fn run(plan: &Plan) {
    let postgres = Postgres::start_with(&SETTINGS).await;
    let url = postgres.database().await;
    let database = Arc::new(PostgresStorage::connect(&url).await.unwrap());
    let client = postgres.client("messenger0").await;
    bare::prepare(&client).await;
    // On a disk: the folder for temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("appends: messages a second");
    println!("under way   database (batch)     file   database/file   bare   database/bare");
    for under_way in UNDER_WAY {
        let users = recipients(under_way);
        let mut rates = [const { Vec::new() }; 3];
        let mut batch = 0.0;
        for round in 0..plan.rounds {
            let path = folder.path().join(format!("{under_way}-{round}.db"));
            let file: Arc<dyn Storage> = Arc::new(SqliteStorage::open(path).unwrap());
            let before = bare::batches(&client).await;
            let (rate, count) = appends(database.clone(), &users, under_way, plan.time).await;
            batch = count / (bare::batches(&client).await - before);
            rates[0].push(rate);
            rates[1].push(appends(file, &users, under_way, plan.time).await.0);
            rates[2].push(bare::rate(&url, under_way, batch, plan.time).await);
        }
        let ratio = |other: usize| {
            let ratios = rates[0].iter().zip(&rates[other]);
            median(ratios.map(|(one, other)| one / other).collect())
        };
        let (of_file, of_bare) = (ratio(1), ratio(2));
        let [database, file, bare] = rates.map(median);
        println!(
            "{under_way:9} {database:10.0} ({batch:5.1}) {file:8.0} {of_file:15.2} {bare:6.0} {of_bare:15.2}"
        );
    }
    whole_way(&url, folder.path(), plan).await;
    sessions(database, plan.sessions).await;
}

/// At least a hundred, as most messages are for different people.
fn recipients(under_way: usize) -> Vec<UserId> {
    let users = 0..under_way.max(100);
    users.map(|user| format!("user{user}").into()).collect()
}

/// How many messages are appended a second, and how many were, by so many senders that each wait for their answer.
async fn appends(
    store: Arc<dyn Storage>,
    users: &[UserId],
    under_way: usize,
    time: Duration,
) -> (f64, f64) {
    let owners = owners(&*store, users).await;
    let count = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let senders = (0..under_way).map(|sender| {
        let (store, count, owners) = (store.clone(), count.clone(), owners.clone());
        tokio::spawn(async move {
            let from = &owners[sender];
            for turn in 0.. {
                if began.elapsed() >= time {
                    return;
                }
                let to = &owners[(sender + 7 * turn) % owners.len()];
                let id = format!("{turn:016x}-{sender:05}");
                let now = SystemClock.now();
                let message = Message::new(id, from.user.clone(), to.user.clone(), now.as_secs())
                    .nick("Sender")
                    .body("x".repeat(BODY));
                let new = NewMessage::new(message, now).sender(from.number);
                store.append(new).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let count = count.load(Ordering::Relaxed) as f64;
    (count / began.elapsed().as_secs_f64(), count)
}

async fn owners(store: &dyn Storage, users: &[UserId]) -> Vec<Owner> {
    let owners = stream::iter(users).map(async |user| {
        store.upsert_external_user(user, "Sender").await.unwrap();
        let number = store.user_number(user).await.unwrap().unwrap();
        Owner::new(user.clone(), number)
    });
    owners.buffered(256).collect().await
}

/// Messages that are stored, answered, given to a recipient who is there, and dropped again.
async fn whole_way(url: &str, folder: &std::path::Path, plan: &Plan) {
    println!("stored, answered, given, dropped: messages a second");
    println!("senders   database     file   database/file");
    for senders in [1, 100, 800] {
        let (mut database, mut file) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            let round = round + 10 * senders;
            let storage = Arc::new(PostgresStorage::connect(url).await.unwrap());
            let engine = workload::engine(Engine::builder().storage(storage));
            database.push(
                workload::run(&engine, round, senders, BODY, plan.time)
                    .await
                    .rate,
            );
            let path = folder.join(format!("whole-{senders}-{round}.db"));
            let storage = Arc::new(SqliteStorage::open(path).unwrap());
            let engine = workload::engine(Engine::builder().storage(storage));
            file.push(
                workload::run(&engine, round, senders, BODY, plan.time)
                    .await
                    .rate,
            );
        }
        let ratios = database.iter().zip(&file).map(|(one, other)| one / other);
        let ratio = median(ratios.collect());
        let (database, file) = (median(database), median(file));
        println!("{senders:7} {database:10.0} {file:8.0} {ratio:15.2}");
    }
}

/// Sessions that come back, and are looked for.
async fn sessions(store: Arc<PostgresStorage>, count: usize) {
    let users: Vec<UserId> = (0..count)
        .map(|user| format!("device{user}").into())
        .collect();
    let owners = owners(&*store, &users).await;
    let key = |n: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        SessionKey(key)
    };
    let opened = stream::iter(owners.iter().enumerate()).map(async |(n, owner)| {
        let session = NewSession::new(owner.clone(), key(n), SystemClock.now());
        store.open_session(session).await.unwrap();
    });
    opened.buffer_unordered(256).collect::<Vec<_>>().await;
    let looks = owners.iter().enumerate();
    let looks: Vec<_> = looks
        .map(|(n, owner)| Look::new(owner.clone(), Some(key(n))))
        .collect();

    let began = Instant::now();
    let resumed = stream::iter(looks.iter().enumerate()).map(async |(n, look)| {
        store
            .resume(&look.owner.user, &key(n))
            .await
            .unwrap()
            .unwrap();
        let page = PageLimits::new(1000, 1 << 20);
        store.inbox_for(look, 0, page).await.unwrap().unwrap();
    });
    resumed.buffer_unordered(256).collect::<Vec<_>>().await;
    println!(
        "{count} sessions come back in {:.2} s",
        began.elapsed().as_secs_f64()
    );

    let mut times = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        let pages = stream::iter(looks.chunks(LOOKED_AT_ONCE));
        let pages = pages.map(async |page| store.look(page.to_vec()).await.unwrap());
        pages.buffer_unordered(6).collect::<Vec<_>>().await;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    println!("{count} sessions are looked for in {:.0} ms", median(times));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
