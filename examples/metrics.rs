//! The engine's metrics in a registry of one's own, beside what the service itself counts. The engine writes to the facade
//! `metrics`, and a `Recorder` takes it from there. `cargo run -p examples --bin metrics`, then `curl http://ADDRESS/metrics`

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use messenger_core::Engine;
use messenger_server::{Server, Transport};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// What this service counts, itself and its parts. Cheap to clone.
#[derive(Clone, Default)]
struct Registry(Arc<Mutex<BTreeMap<String, Value>>>);

#[derive(Clone)]
enum Value {
    Counter(Arc<AtomicU64>),
    /// The bits of a number with a fraction.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Spread>),
}

/// How many values there were, and their sum in millionths. (A real one counts them by size.)
#[derive(Default)]
struct Spread {
    count: AtomicU64,
    millionths: AtomicU64,
}

impl HistogramFn for Spread {
    fn record(&self, value: f64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
        let millionths = (value * 1e6) as u64;
        self.millionths.fetch_add(millionths, Ordering::Relaxed);
    }
}

impl Registry {
    /// The value of this name, which is made when it is asked for first.
    fn value(&self, name: String, new: Value) -> Value {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.entry(name).or_insert(new).clone()
    }

    fn counter(&self, name: impl Into<String>) -> Arc<AtomicU64> {
        match self.value(name.into(), Value::Counter(Arc::default())) {
            Value::Counter(counter) => counter,
            // Two things of one name: whoever came second is not shown.
            _ => Arc::default(),
        }
    }

    /// A line for each value.
    fn page(&self) -> String {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = String::new();
        for (name, value) in &*values {
            let _ = match value {
                Value::Counter(count) => writeln!(page, "{name} {}", count.load(Ordering::Relaxed)),
                Value::Gauge(bits) => {
                    let value = f64::from_bits(bits.load(Ordering::Relaxed));
                    writeln!(page, "{name} {value}")
                }
                Value::Histogram(spread) => {
                    let count = spread.count.load(Ordering::Relaxed);
                    let millionths = spread.millionths.load(Ordering::Relaxed);
                    writeln!(
                        page,
                        "{name} {count} values, {millionths} millionths in all"
                    )
                }
            };
        }
        page
    }
}

/// Name and labels, as `messenger_limits_total{limit="inbox"}`.
fn name(key: &Key) -> String {
    let labels = key
        .labels()
        .map(|label| format!("{}={:?}", label.key(), label.value()));
    let labels: Vec<_> = labels.collect();
    match labels.is_empty() {
        true => key.name().to_owned(),
        false => format!("{}{{{}}}", key.name(), labels.join(",")),
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counter(name(key)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.value(name(key), Value::Gauge(Arc::default())) {
            Value::Gauge(bits) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.value(name(key), Value::Histogram(Arc::default())) {
            Value::Histogram(spread) => Histogram::from_arc(spread),
            _ => Histogram::noop(),
        }
    }
}

#[derive(Clone)]
struct Web {
    registry: Registry,
    engine: Engine,
    visits: Arc<AtomicU64>,
}

async fn page(State(web): State<Web>) -> String {
    web.visits.fetch_add(1, Ordering::Relaxed);
    // The engine tells once a second, and when it is asked to.
    web.engine.publish_metrics();
    web.registry.page()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::default();
    // Before the engine and the server are made: they look for the recorder then, and once.
    metrics::set_global_recorder(registry.clone())?;
    let engine = Engine::builder().build()?;
    let server = Server::new(engine.clone(), Transport::default());

    let web = Web {
        visits: registry.counter("visits_total"),
        registry,
        engine,
    };
    let routes = Router::new().route("/metrics", get(page)).with_state(web);
    let http = TcpListener::bind("127.0.0.1:0").await?;
    println!("web on {}", http.local_addr()?);
    tokio::spawn(async { axum::serve(http, routes).await });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    server.serve(listener, stop).await;
    Ok(())
}
