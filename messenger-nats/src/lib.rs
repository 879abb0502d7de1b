//! The messenger engine's [`Notifier`](messenger_core::notifier::Notifier) over NATS, for many nodes that share a
//! store.
//!
//! ```no_run
//! use messenger_core::Engine;
//! use messenger_nats::{NatsNotifier, Servers};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let servers: Servers = "nats://one.example,two.example?prefix=chat".parse()?;
//! let notifier = NatsNotifier::connect(servers).await?;
//! let engine = Engine::builder().notifier(Arc::new(notifier)).build()?;
//! # let _ = engine;
//! # Ok(())
//! # }
//! ```
//!
//! Each node sends all it has to tell as one stream of numbered frames, on the subject `PREFIX.from.NODE`, and hears
//! those of all others. So a login never is a part of a subject, nobody subscribes when a user comes, and a frame
//! that is lost is *seen*: by a gap in the numbers, by silence (a node that has nothing to tell says so every second),
//! by a reconnect. Then all connections look into the store, which is the truth; NATS is a hint that makes it quick.
//!
//! With `tls://` rustls has to know whose cryptography to use: a program that is built with several chooses one
//! (`rustls::crypto::CryptoProvider::install_default`).

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
