//! A messenger engine to embed: accounts, contacts, sessions, and delivery that loses nothing.
//!
//! Nothing here knows about sockets or bytes. An [`Engine`] gives a [`Connection`] for every client that comes; a
//! connection takes typed requests, and gives typed replies and a stream of events.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_core::proto::{Auth, Register, SendMessage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().build()?;
//! for (login, nick) in [("ann", "Ann"), ("bob", "Bob")] {
//!     engine.connect().call(Register::new(login, "secret", nick)).await?;
//! }
//! let log_in = async |login: &'static str| {
//!     let connection = engine.connect();
//!     connection.call(Auth::new(login, "secret")).await?;
//!     Ok::<_, messenger_core::proto::Failure>(connection)
//! };
//!
//! let ann = log_in("ann").await?;
//! ann.call(SendMessage::new("bob", "hello")).await?;
//!
//! let mut bob = log_in("bob").await?; // was away; the message has waited
//! let event = bob.next_event().await.expect("a message");
//! assert_eq!((event.message.from.as_str(), event.seq), ("ann", Some(1)));
//! assert_eq!(event.message.body.as_str(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! Three parts may be the embedder's own: a [`storage::Storage`] (where things are kept), a [`notifier::Notifier`] (how
//! connections learn of messages) and an [`authenticator::Authenticator`] (who the users are). Users whom the embedder
//! has authenticated itself come by [`Engine::connect_as`]. A [`moderator::Moderator`] looks at messages before they are
//! stored, and an [`offline::channel`] tells of those for users who are away.

// Each group builds on those before it.

mod address;
mod background;
pub mod clock;
pub mod entropy;
pub mod lookalikes;
mod names;
mod sharded_counter;

mod meters;
pub mod policy;
mod trusted_clock;
mod watermark;

pub mod notifier;
pub mod storage;

pub mod authenticator;
pub mod moderator;
pub mod offline;
mod online;
mod passwords;
mod rates;
mod timed_storage;
mod watermarks;

mod delivery;
mod reply;
mod shared;

mod connection_state;

mod rules;

mod connection;
mod driver;
mod maintenance;

mod engine;

mod embedder;
mod operator;
#[cfg(feature = "testing")]
pub mod testing;

pub use address::{AddressRule, Region, UnknownRegion};
pub use async_trait::async_trait;
pub use connection::Connection;
pub use delivery::{Delivery, DeliveryToken, EventsEnded};
pub use driver::{Driver, DriverLimits, Ended, Frame};
pub use engine::{BuildError, Builder, ClockError, Engine, Health};
pub use messenger_proto as proto;
pub use operator::{ResetPasswordError, UserExport};
pub use passwords::PasswordCostError;
pub use policy::Policy;
pub use reply::{Reply, Running, Started};
pub use rules::SessionKind;

/// What `watermark.rs` is made of. Its test has the same of loom's.
mod sync {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
}
