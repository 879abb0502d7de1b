//! Two messengers in one process, of which neither knows the other: one for the staff, one for guests, who may send less.
//! `cargo run -p examples --bin two_engines`

use messenger_core::{BuildError, Engine, Policy};
use messenger_server::{Server, Transport};
use std::error::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a guest's text may be, in bytes.
const GUESTS_BODY: usize = 1000;

fn staff() -> Result<Engine, BuildError> {
    let mut policy = Policy::default();
    policy.welcome = "For the staff".to_owned();
    Engine::builder().policy(policy).build()
}

fn guests() -> Result<Engine, BuildError> {
    let mut policy = Policy::default();
    policy.welcome = "Welcome, guest".to_owned();
    policy.limits.body = GUESTS_BODY;
    Engine::builder().policy(policy).build()
}

/// Serves one of them on a port of its own, until it is told to stop.
async fn serve(name: &str, engine: Engine, stop: CancellationToken) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{name} on {}", listener.local_addr()?);
    let server = Server::new(engine, Transport::default());
    let drained = server.serve(listener, stop.cancelled_owned()).await;
    println!("{name} stopped with {} connections cut", drained.cut);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = CancellationToken::new();
    let both = async {
        tokio::try_join!(
            serve("staff", staff()?, stop.clone()),
            serve("guests", guests()?, stop.clone()),
        )
    };
    let signal = async {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    };
    let (served, ()) = tokio::join!(both, signal);
    served.map(drop)
}
