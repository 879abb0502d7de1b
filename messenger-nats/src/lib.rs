//! The messenger engine's [`Notifier`](messenger_core::notifier::Notifier) over NATS, for many nodes that share a
//! store.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_nats::{NatsNotifier, Servers};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let nats = testing_servers::Nats::start(&[]);
//! # let url = format!("{}?prefix=chat", nats.url());
//! let servers: Servers = url.parse()?; // such as "nats://one.example,two.example?prefix=chat"
//! let notifier = Arc::new(NatsNotifier::connect(servers).await?);
//! let engine = Engine::builder().notifier(notifier.clone()).build()?;
//! // And when the node stops:
//! engine.shut_down().await?;
//! notifier.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Embed it
//!
//! Give each node one, beside a store that they share, such as `messenger-postgres`. NATS has to be of version 2.9 or later, without JetStream. Nodes
//! under one prefix hear each other, and no others. [`NatsNotifier::close`] tells the others that a node stops.
//!
//! With `tls://` rustls has to know whose cryptography to use: a program that is built with several chooses one
//! (`rustls::crypto::CryptoProvider::install_default`).
//!
//! # Guarantees
//!
//! - Each node sends all it has to tell as one stream of numbered frames, on the subject `PREFIX.from.NODE`, and hears
//!   those of all others. So a login never is a part of a subject, nobody subscribes when a user comes, and a frame
//!   that is lost is *seen*: by a gap in the numbers, by silence (a node that has nothing to tell says so every second),
//!   by a reconnect. Then all connections look into the store, which is the truth; NATS is a hint that makes it quick.
//! - NATS is never waited for. While it is away messages to other nodes come some seconds late, and none is lost. A sender's copy for
//!   its devices on other nodes may be.
//! - Other nodes are trusted: whoever can publish under the prefix can tell any connection of messages.
//! - It passes the suite that every notifier must pass (`messenger_core::testing::notifier`).
//!
//! # Limits
//!
//! 4 MiB wait to be sent and as much in NATS' client, 512 frames of at most 64 KiB to be heard; a thousand nodes; 64 MiB of pieces of larger notices, of all of them.
//! What does not fit is dropped, and the others see that.
//!
//! # Performance
//!
//! A frame gathers what waits, so a busy node sends few. Each node hears every notice: what one sends costs each of the others its reading.

mod frame;
mod health;
mod link;
mod notifier;
mod outbox;
mod peers;
mod servers;

pub use link::ConnectError;
pub use notifier::NatsNotifier;
pub use servers::{Servers, ServersError};
