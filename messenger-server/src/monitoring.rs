//! What an operator's tools ask: metrics, and whether the server is alive and ready.

mod process;

use crate::causes::in_full;
use crate::certificate::EXPIRY;
use crate::logs;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use messenger_core::Engine;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_blocking, yield_now};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many connections there are at once; one more cuts the oldest, so that silent ones keep no question from its
/// answer.
const AT_ONCE: usize = 16;

/// How long a question may take to come.
const QUESTION_PATIENCE: Duration = Duration::from_secs(2);

/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the program was built from, if whoever built it has said so.
const COMMIT: &str = match option_env!("BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// How often the latencies that were recorded are put into their buckets.
const GATHERED_EVERY: Duration = Duration::from_secs(1);

/// The upper ends of the buckets of latencies, in seconds.
const BUCKETS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// Answers `GET /metrics` for Prometheus, `/healthz` (the process answers) and `/readyz` (it takes
/// connections, and its store answers; 503 otherwise, as while it stops; a line for each part that fails).
#[derive(Clone)]
pub struct Monitoring {
    metrics: PrometheusHandle,
}

impl fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitoring").finish_non_exhaustive()
    }
}

/// The process has a recorder of metrics already.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded")]
pub struct MonitoringError(#[source] BuildError);

impl Monitoring {
    /// Makes itself the process's recorder of metrics. To be called before the engine is built, by a
    /// program that has no recorder of its own.
    ///
    /// # Errors
    /// It has one.
    pub fn install() -> Result<Self, MonitoringError> {
        let metrics = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(MonitoringError)?;
        describe();
        process::describe();
        logs::begin_to_count();
        gauge!("messenger_build_info", "version" => VERSION, "commit" => COMMIT).set(1.0);
        Ok(Self { metrics })
    }

    /// Answers until dropped. Once `stopping` completes, the server counts as taking no more connections.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener. Answers under way are finished.
    pub async fn serve(
        self,
        listener: TcpListener,
        engine: Engine,
        stopping: impl Future<Output = ()>,
    ) {
        let asked = Arc::new(Asked {
            metrics: self.metrics,
            engine,
            stopping: CancellationToken::new(),
        });
        let mut connections = VecDeque::new();
        let mut gather = interval(GATHERED_EVERY);
        let mut stopping = std::pin::pin!(stopping);
        loop {
            let accepted = tokio::select! {
                // Whoever asks afterwards is told.
                biased;
                () = &mut stopping, if !asked.stopping.is_cancelled() => {
                    asked.stopping.cancel();
                    continue;
                }
                _ = gather.tick() => {
                    asked.metrics.run_upkeep();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                sleep(GATHERED_EVERY).await;
                continue;
            };
            make_room(&mut connections);
            let asked = Arc::clone(&asked);
            connections.push_back(tokio::spawn(async move {
                let _ = timeout(PATIENCE, asked.answer(stream)).await;
            }));
            // Whoever has asked already is answered before others can cut it.
            yield_now().await;
        }
    }
}

/// Makes room for one more connection, the newest.
fn make_room(connections: &mut VecDeque<JoinHandle<()>>) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= AT_ONCE
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
}

/// What questions are about.
struct Asked {
    metrics: PrometheusHandle,
    engine: Engine,
    stopping: CancellationToken,
}

impl Asked {
    async fn answer(&self, stream: TcpStream) {
        let service = service_fn(async |request| Ok::<_, Infallible>(self.respond(&request).await));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(QUESTION_PATIENCE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a question about the server broke off");
        }
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness().await,
            "/metrics" => {
                self.engine.publish_metrics();
                // Open files are counted one by one.
                let _ = spawn_blocking(process::look).await;
                text(StatusCode::OK, self.metrics.render())
            }
            _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz, /readyz\n"),
        }
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        if self.stopping.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        let health = self.engine.health().await;
        // Without a notifier messages come late, but they come: were all servers to say no, nobody would be served.
        let (status, mut page) = match health.storage.is_ok() && health.clock.is_ok() {
            true => (StatusCode::OK, "ready\n".to_owned()),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        };
        page.extend(health.storage.err().map(|error| in_full(&error) + "\n"));
        page.extend(health.clock.err().map(|error| in_full(&error) + "\n"));
        page.extend(health.notifier.err().map(|error| in_full(&error) + "\n"));
        text(status, page)
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// What Prometheus shows beside the names.
fn describe() {
    describe_gauge!(
        EXPIRY,
        Unit::Seconds,
        "When the certificate expires, since 1970"
    );
    describe_gauge!(
        "messenger_build_info",
        "1; its labels tell what was built, and from what"
    );
    describe_gauge!("messenger_connections", "Connections that are served");
    describe_counter!(
        "messenger_connections_total",
        "Connections that were taken, over TCP and over TLS"
    );
    describe_gauge!("messenger_sessions", "Connections that are authenticated");
    describe_counter!(
        "messenger_requests_total",
        "Requests by action and by the status they were answered with"
    );
    describe_counter!(
        "messenger_messages_accepted_total",
        "Messages that were stored and answered with 0"
    );
    describe_counter!(
        "messenger_messages_delivered_total",
        "Messages handed to connections, copies included"
    );
    describe_histogram!(
        "messenger_delivery_seconds",
        Unit::Seconds,
        "From accepting a message to having written it to a recipient who is connected, for each write"
    );
    describe_histogram!(
        "messenger_store_seconds",
        Unit::Seconds,
        "How long calls of the store take"
    );
    describe_gauge!(
        "messenger_outgoing_bytes",
        Unit::Bytes,
        "What waits to be taken by peers"
    );
    describe_gauge!(
        "messenger_partial_frame_bytes",
        Unit::Bytes,
        "What is held of frames that have not come whole"
    );
    describe_counter!(
        "messenger_limits_total",
        "How often a limit was reached, by its name"
    );
    describe_counter!(
        "messenger_postgres_connects_total",
        "Connections to the PostgreSQL database that were made"
    );
    describe_counter!(
        "messenger_postgres_batches_total",
        "Batches of messages that were sent to the PostgreSQL database"
    );
    describe_counter!(
        "messenger_postgres_repeats_total",
        "Calls of the PostgreSQL database that were made again: their answer was lost, or another stood in the way"
    );
    describe_counter!(
        "messenger_postgres_losses_total",
        "How often the PostgreSQL database was found to have lost what it had stored"
    );
    describe_counter!(
        "messenger_notifier_connects_total",
        "Connections to NATS that were made"
    );
    describe_counter!(
        "messenger_notifier_gaps_total",
        "How often something that other servers told may have been missed"
    );
    describe_counter!(
        "messenger_notices_dropped_total",
        "What other servers were not told, because too much waited to be sent"
    );
    describe_counter!(
        "messenger_handshakes_failed_total",
        "TLS handshakes and proxies' headers that failed"
    );
    describe_counter!(
        "messenger_log_lines_dropped_total",
        "Log lines that were not written: the same was said too often, or the log was not read"
    );
}
