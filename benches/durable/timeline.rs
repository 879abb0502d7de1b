//! Where a file's time goes: how long commits work, and then how long they write the log and sync it (and at times copy it
//! into the file). The store tells it in events, at the level of debugging.

use crate::busy::Other;
use crate::{BODY, Plan, workload};
use messenger_core::Engine;
use messenger_sqlite::SqliteStorage;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

pub(crate) fn run(runtime: &Runtime, folder: &Path, plan: &Plan) {
    // An engine has tasks of its own.
    let _entered = runtime.enter();
    let timeline = Timeline::default();
    let _ = tracing::subscriber::set_global_default(timeline.clone());
    println!(
        "senders  disk    messages/s commits/s calls | work p50    p99    max | sync p50    p99    max (ms)"
    );
    for &senders in plan.senders {
        for is_busy in [false, true] {
            let other = is_busy.then(|| Other::write(folder));
            let path = folder.join(format!("timeline-{senders}-{is_busy}.db"));
            let store = Arc::new(SqliteStorage::open(path).unwrap());
            let engine = workload::engine(Engine::builder().storage(store));
            let sent = runtime.block_on(async {
                let measured = async { timeline.take() };
                workload::run_after(&engine, 0, senders, BODY, plan.time, measured).await
            });
            let seen = timeline.take();
            drop(other);
            let disk = if is_busy { "busy" } else { "quiet" };
            println!(
                "{senders:7}  {disk:<6} {:10.0} {}",
                sent.rate,
                seen.row(plan.time)
            );
        }
    }
}

/// What the store has told.
#[derive(Clone, Debug, Default)]
struct Timeline(Arc<Mutex<Seen>>);

/// In microseconds.
#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    work: Vec<u64>,
    sync: Vec<u64>,
}

impl Timeline {
    fn take(&self) -> Seen {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Seen {
    fn row(self, time: Duration) -> String {
        let count = self.sync.len() as f64;
        let calls = self.calls as f64 / count;
        let [work, sync] = [self.work, self.sync].map(|mut times| {
            times.sort_unstable();
            let at = |percent| times[(times.len() - 1) * percent / 100] as f64 / 1000.0;
            format!("{:8.2} {:6.2} {:6.1}", at(50), at(99), at(100))
        });
        format!(
            "{:9.0} {calls:5.1} | {work} | {sync}",
            count / time.as_secs_f64()
        )
    }
}

impl Subscriber for Timeline {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() == Level::DEBUG
            && metadata.target().starts_with("messenger_sqlite")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut seen = self.0.lock().unwrap();
        seen.calls += fields.calls;
        seen.work.push(fields.work_us);
        seen.sync.push(fields.us - fields.work_us);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Of an event.
#[derive(Default)]
struct Fields {
    calls: u64,
    us: u64,
    work_us: u64,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "calls" => self.calls = value,
            "us" => self.us = value,
            "work_us" => self.work_us = value,
            _ => {}
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.record_u64(field, u64::try_from(value).unwrap());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
