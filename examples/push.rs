//! Push notifications: whoever has no connection when a message is stored for them is told by other means. Here that is
//! a line of output; a service asks its push gateway. `cargo run -p examples --bin push`

use messenger_core::proto::EvMessage;
use messenger_core::{Engine, offline};
use messenger_server::{Server, Transport};
use std::error::Error;
use tokio::net::TcpListener;

/// The bytes of messages that may wait to be told; more are dropped, and wait in their inboxes all the same.
const WAITING: usize = 4 * 1024 * 1024;

/// As much of a text is shown on a locked screen, in characters.
const SHOWN: usize = 80;

/// Tells of each message, for as long as the engine lives.
async fn push(engine: Engine, mut away: offline::Receiver) {
    while let Some(event) = away.next().await {
        if was_given(&engine, &event).await {
            continue;
        }
        let message = event.message;
        let shown: String = message.body.as_str().chars().take(SHOWN).collect();
        println!("push to {}: {}: {shown}", message.to.as_str(), message.nick);
    }
}

/// Whether the user has come meanwhile, here or on another node.
async fn was_given(engine: &Engine, event: &EvMessage) -> bool {
    let sessions = engine.sessions(&event.message.to).await;
    let mut sessions = sessions.ok().flatten().unwrap_or_default().into_iter();
    sessions.any(|(_, session)| Some(session.delivered_up_to) >= event.seq)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, away) = offline::channel(WAITING);
    let engine = Engine::builder().offline(sender).build()?;
    let pushing = tokio::spawn(push(engine.clone(), away));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", listener.local_addr()?);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    Server::new(engine, Transport::default())
        .serve(listener, stop)
        .await;
    pushing.abort();
    Ok(())
}
