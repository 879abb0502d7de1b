//! The messenger in a service that has a shutdown of its own: one token, which every part of it heeds, and an order in which
//! they end. `cargo run -p examples --bin shutdown [FILE]`; it stops on SIGTERM.

use axum::Router;
use axum::routing::get;
use messenger_core::Engine;
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_server::{Server, Transport};
use messenger_sqlite::SqliteStorage;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections may take to finish: less than whoever sends SIGTERM waits before SIGKILL.
const DRAIN: Duration = Duration::from_secs(8);

/// Serves until the token is cancelled, and returns when all connections have ended and what was delivered is stored.
async fn messenger(engine: Engine, listener: TcpListener, stop: CancellationToken) {
    let mut transport = Transport::default();
    transport.drain = DRAIN;
    let server = Server::new(engine, transport);
    let drained = server.serve(listener, stop.cancelled_owned()).await;
    println!("messenger stopped with {} connections cut", drained.cut);
}

async fn web(listener: TcpListener, stop: CancellationToken) {
    let routes = Router::new().route("/", get(async || "hello\n"));
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        eprintln!("the web has failed: {error}");
    }
    println!("web stopped");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage: Arc<dyn Storage> = match std::env::args().nth(1) {
        Some(path) => Arc::new(SqliteStorage::open(path)?),
        None => Arc::new(MemoryStorage::new()),
    };
    let engine = Engine::builder().storage(Arc::clone(&storage)).build()?;
    let (stop, parts) = (CancellationToken::new(), TaskTracker::new());
    let mut terminated = signal(SignalKind::terminate())?;

    let http = TcpListener::bind("127.0.0.1:0").await?;
    println!("web on {}", http.local_addr()?);
    parts.spawn(web(http, stop.clone()));
    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", tcp.local_addr()?);
    parts.spawn(messenger(engine, tcp, stop.clone()));

    terminated.recv().await;
    stop.cancel();
    parts.close();
    parts.wait().await;
    // Nobody uses the store any more: it is closed here.
    drop(storage);
    println!("stopped");
    Ok(())
}
