//! A messenger engine to embed: accounts, contacts, sessions, and delivery that loses nothing.
//!
//! Nothing here knows about sockets or bytes. An [`Engine`] gives a [`Connection`] for every client that comes; a
//! connection takes typed requests, and gives typed replies and a stream of events. Without a word it keeps everything in memory.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use messenger_core::Engine;
//! use messenger_core::proto::{Auth, Register, SendMessage};
//!
//! let engine = Engine::builder().build()?;
//! let [ann, mut bob] = [engine.connect(), engine.connect()];
//! for (connection, login, nick) in [(&ann, "ann", "Ann"), (&bob, "bob", "Bob")] {
//!     connection.call(Register::new(login, "secret", nick)).await?;
//!     connection.call(Auth::new(login, "secret")).await?;
//! }
//! ann.call(SendMessage::new("bob", "hello")).await?;
//! let event = bob.next_message().await?;
//! assert_eq!((event.seq, event.message.body.as_str()), (Some(1), "hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Embed it
//!
//! An engine runs on your tokio runtime; it installs no signal handler, no logger and no recorder of metrics, and keeps nothing global. It is
//! cheap to clone, and a process may have many. [`Engine::shut_down`] stores what was delivered last.
//!
//! - **Users of your own** come by [`Engine::connect_as`], authenticated by you: a web handler's request, a bot.
//! - **Clients over the network** come by `messenger-server`: TCP, TLS, WebSocket, or any stream that you accept.
//! - **What is kept, and limits**, are the [`Policy`]'s: `Engine::builder().policy(…)`. A file, a database and NATS are
//!   `messenger-sqlite`, `messenger-postgres` and `messenger-nats`: `Engine::builder().storage(…).notifier(…)`.
//! - **Hooks**: a [`Moderator`](moderator::Moderator) looks at messages before they are stored, and an
//!   [`offline::channel`] tells of those for users who are away.
//! - **An operator's calls** are the engine's too: [`Engine::delete_user`], [`Engine::export_user`], [`Engine::end_sessions`].
//!
//! The repository's cookbook (`docs/cookbook`) has a page and a program for each task: bots, bridges, moderation, push, metrics.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use messenger_core::authenticator::Identity;
//! use messenger_core::proto::SendMessage;
//! use messenger_core::{Engine, SessionKind};
//!
//! let engine = Engine::builder().build()?;
//! let mut bot = engine.connect_as("bot".into(), Identity::new("Bot"), SessionKind::Lasting).await?;
//! let request = SessionKind::Ephemeral { after: None }; // it ends with the connection
//! let ann = engine.connect_as("ann".into(), Identity::new("Ann"), request).await?;
//! ann.call(SendMessage::new("bot", "hello")).await?;
//! assert_eq!(bot.next_message().await?.message.from.as_str(), "ann");
//! engine.shut_down().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Parts of your own
//!
//! Each has a suite of what it must do, in [`testing`] (feature `testing`); the examples are in the repository. A suite finds out what breaks one of its promises: it is tested
//! with parts that each break another one.
//!
//! | part | what it decides | how it is written | its suite |
//! |---|---|---|---|
//! | [`Storage`](storage::Storage) | where things are kept | [`storage`], and an example (`custom_storage`) | [`testing::storage`] |
//! | [`Notifier`](notifier::Notifier) | how connections, of other nodes too, learn of messages | [`Notifier`](notifier::Notifier) | [`testing::notifier`] |
//! | [`Authenticator`](authenticator::Authenticator) | who the users are | [`Authenticator`](authenticator::Authenticator) | [`testing::authenticator`] |
//! | a transport | how frames come and go | [`Driver`], and an example (`websocket`) | [`testing::transport`] |
//!
//! **A store** implements [`Storage`](storage::Storage), and `Accounts` if passwords are kept in it. Calls are atomic, and durable when they return.
//! Calls that wait for a disk go through a [`BatchQueue`](storage::BatchQueue), which keeps the order that is promised.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use messenger_core::storage::{MemoryStorage, Storage};
//! use messenger_core::testing;
//! use std::sync::Arc;
//!
//! // Yours in its place.
//! let make = async || Arc::new(MemoryStorage::new()) as Arc<dyn Storage>;
//! testing::storage::suite(make).await;
//! # }
//! ```
//!
//! **A notifier** implements two methods that do not wait: [`subscribe`](notifier::Notifier::subscribe) and
//! [`notify`](notifier::Notifier::notify). It may lose, double and reorder; what it knows to have lost it counts.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use messenger_core::notifier::LocalNotifier;
//! use messenger_core::testing;
//! use std::sync::Arc;
//!
//! // Across nodes: two that reach each other.
//! let make = async || {
//!     let notifier = Arc::new(LocalNotifier::new());
//!     (Arc::clone(&notifier), notifier)
//! };
//! testing::notifier::suite(make).await;
//! # }
//! ```
//!
//! **An authenticator** answers two questions: who has this login, and is this the password. Accounts are then made and kept
//! where you say; the engine asks at `auth` only.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use messenger_core::async_trait;
//! use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
//! use messenger_core::proto::{Password, UserId};
//! use messenger_core::testing;
//! use std::sync::Arc;
//!
//! struct OnlyAnn;
//!
//! #[async_trait]
//! impl Authenticator for OnlyAnn {
//!     async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
//!         Ok((login.as_str() == "ann").then(|| Identity::new("Ann")))
//!     }
//!
//!     async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
//!         Ok(match self.identify(login).await? {
//!             None => Verdict::NoSuchLogin,
//!             Some(ann) if *pass == "secret".into() => Verdict::Accepted(ann),
//!             Some(_) => Verdict::WrongPass,
//!         })
//!     }
//! }
//!
//! testing::authenticator::suite("ann", "secret", async || Arc::new(OnlyAnn)).await;
//! # }
//! ```
//!
//! **A transport** hands requests to a [`Driver`], and writes the frames that it is given, which it calls delivered then. This is all
//! of one between two tasks:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use messenger_core::proto::{Braces, ErrorCode, Failure, Inbound, Outbound};
//! use messenger_core::testing::{self, transport::Client};
//! use messenger_core::{Driver, DriverLimits, async_trait};
//! use tokio::sync::mpsc::{Receiver, Sender, channel};
//!
//! async fn serve(mut driver: Driver, mut requests: Receiver<String>, frames: Sender<Outbound>) {
//!     loop {
//!         let is_wanted = driver.wants_request(0);
//!         tokio::select! {
//!             frame = driver.next_frame(0) => {
//!                 let Ok(frame) = frame else { return };
//!                 if frames.send(frame.outbound).await.is_err() {
//!                     return;
//!                 }
//!                 driver.delivered(frame.token);
//!             }
//!             request = requests.recv(), if is_wanted => match request {
//!                 None => driver.finish(),
//!                 Some(text) => take(&mut driver, text),
//!             },
//!         }
//!     }
//! }
//!
//! fn take(driver: &mut Driver, text: String) {
//!     let length = text.len();
//!     if length > driver.frame_limit() {
//!         return driver.refuse(Failure::new(ErrorCode::InvalidData, "too long"));
//!     }
//!     match Inbound::decode(text.into()) {
//!         Ok(request) => driver.request(request, length),
//!         Err(error) => driver.refuse(Failure::new(ErrorCode::InvalidData, error.to_string())),
//!     }
//! }
//!
//! /// The client's end, for the suite.
//! struct Channels(Sender<String>, Receiver<Outbound>);
//!
//! #[async_trait]
//! impl Client for Channels {
//!     async fn send(&mut self, frame: String) {
//!         let _ = self.0.send(frame).await;
//!     }
//!
//!     async fn receive(&mut self) -> Option<String> {
//!         let mut text = bytes::BytesMut::new();
//!         self.1.recv().await?.encode(&mut text, Braces::Plain);
//!         String::from_utf8(text.into()).ok()
//!     }
//! }
//!
//! testing::transport::suite(async |engine| {
//!     let (to_server, requests) = channel(64);
//!     let (frames, from_server) = channel(1);
//!     let driver = Driver::new(engine.connect(), DriverLimits::default());
//!     tokio::spawn(serve(driver, requests, frames));
//!     Channels(to_server, from_server)
//! })
//! .await;
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Accepted**: a message answered with success stands in its recipient's inbox under the next sequence number, as durable as the store is.
//! - **At least once, in order**: each session of the recipient is given every message that was not delivered to it yet. A client that acknowledges
//!   and drops numbers it has seen processes each exactly once.
//! - **Sent again** under its `mid` within 7 days, a message is stored once.
//! - **What no session was given** is kept for 30 days, and nothing pushes it out; when there is no more room, senders are told so.
//! - **The notifier is a hint**: a notice that is lost delays a message, and loses none.
//! - **No input panics**, and no secret and no message body reaches a log or a `Debug` output.
//!
//! A simulator lives through thousands of worlds of cut connections, crashes and lost replies in each test run, and checks these in each.
//!
//! # Limits
//!
//! What a client may send, ask for and have kept is bounded by [`Policy`], and so is how fast ([`Rates`](policy::Rates)). By default: names of
//! 64 characters, texts of 64 KiB, 1,000 contacts, 8 sessions, 10,000 messages or 256 MiB that wait for a user, 256 requests with 4 MiB of
//! frames under way on a connection ([`DriverLimits`]), 4 MiB of live messages waiting for one, 4.5 seconds for what a request asks of the store.
//!
//! # Performance
//!
//! A message takes 0.9 µs from the request to its recipient's event, with everything in memory (one core of an AMD EPYC, 2026-11-28). A limit of
//! messages that nobody reaches costs a hundredth of that. `message` requests of a connection overlap, so a store that waits for a disk is waited
//! for once for many of them.
//!
//! # Features
//!
//! `testing`: the suites, a store that fails on demand, and time and randomness to set by hand.

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
mod taken;

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
pub use delivery::{Delivery, DeliveryToken, Event, EventsEnded};
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
