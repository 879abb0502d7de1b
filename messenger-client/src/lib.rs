//! A typed async client of the messenger protocol.
//!
//! An application begins a [`Session`] by [`Client::builder`]. It connects by itself, again and again, and goes on where it was:
//! each message that it is given is sent once, and each that comes is seen once, whatever the network does.
//!
//! ```
//! use messenger_client::{Client, FileStore};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use messenger_client::proto::Password;
//! # let engine = messenger_core::Engine::builder().build()?;
//! # let server = messenger_server::Server::new(engine, Default::default());
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?.to_string();
//! # tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
//! # let pass = Password::md5_of("secret");
//! # messenger_client::connect(&address).await?.0.register("ann", &pass, "Ann").await?;
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let (session, mut incoming) = Client::builder()
//!     .server(address) // "tls://example.org:7790", with the feature `tls`
//!     .credentials("ann", pass)
//!     .store(FileStore::open(folder)?) // over restarts of the application
//!     .start()
//!     .await?;
//! let receipt = session.send("ann", "a note to myself").await?; // in the outbox, also without a network
//! let event = incoming.next_message().await?;
//! assert_eq!(event.message.id, receipt.accepted().await?.id);
//! # Ok(())
//! # }
//! ```
//!
//! # Embed it
//!
//! It runs on your tokio runtime, and installs nothing. What it is made of is one connection: [`connect`] gives a [`Client`], which sends
//! requests and may be cloned, and [`Events`], what comes unasked. Requests are pipelined: whoever awaits several at once has them on
//! the wire together, and replies come in their order.
//!
//! ```
//! use messenger_client::{ClientError, connect};
//! use messenger_client::proto::{Auth, Password, Register, SendMessage};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = messenger_core::Engine::builder().build()?;
//! # let server = messenger_server::Server::new(engine, Default::default());
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! # tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
//! let (client, mut events) = connect(address).await?;
//! let pass = Password::md5_of("secret");
//! client.register("ann", &pass, "Ann").await?;
//! let session = client.auth("ann", &pass).await?;
//! println!("to resume: cid {}, sid of {} bytes", session.uid, session.sid.as_str().len());
//!
//! let sent = client.send("ann", "a note to myself").await?;
//! let event = events.next_message().await?;
//! assert_eq!(event.message.id, sent.id);
//!
//! let failed = client.send("nobody", "hello").await;
//! assert!(matches!(failed, Err(ClientError::Refused(failure)) if failure.code.number() == 8));
//! # Ok(())
//! # }
//! ```
//!
//! Two parts of a session may be your own: a [`StateStore`], where the session and the outbox are kept, and [`Connect`], the way to the
//! server, which gives any stream of bytes.
//!
//! # Guarantees
//!
//! - **Sent once**: a message is in the outbox, and in the store, before it is sent, under a random `mid`. It leaves both when the server has
//!   accepted or refused it. To one recipient none overtakes another.
//! - **Seen once**: the server is told of a message when the application has processed it and the store knows; what comes again is dropped.
//! - A store that fails ends the session, since going on would show or send something twice.
//! - What a server sends is bounded and does not panic. No secret reaches a log or a `Debug` output.
//!
//! # Limits
//!
//! The outbox holds [`OUTBOX_MESSAGES`] messages and [`OUTBOX_BYTES`] bytes, a message has at most [`MESSAGE_BYTES`]. What an application does not take waits up to
//! 64 MiB; then the connection ends, and it comes again. Waits between attempts grow from half a second to 30, and up to twice that by chance.
//!
//! # Performance
//!
//! Requests on a connection are pipelined, so that many cost one wait for the network. A session has messages to 64 recipients on
//! their way at once, and one to each; each is written to the store before it is sent.
//!
//! # Features
//!
//! `tls`: servers that are reached by TLS, with certificates checked by the platform's or by given ones. `websocket`: `ws://` and, with `tls`, `wss://`.

mod activity;
mod builder;
mod client;
mod connection;
mod error;
mod events;
mod limits;
mod session;
mod store;
mod transport;

pub use async_trait::async_trait;
pub use builder::{Builder, StartError};
pub use client::{Client, connect, over};
pub use error::{ClientError, ConnectionError, EventsEnded, SessionEnd};
pub use events::{Event, Events};
pub use limits::{MESSAGE_BYTES, OUTBOX_BYTES, OUTBOX_MESSAGES};
pub use messenger_proto as proto;
pub use session::{
    ConnectionState, Incoming, Interruption, Receipt, RefusedMessage, SendError, Session,
    SessionEvent, States,
};
pub use store::{FileStore, MemoryStore, StateStore};
pub use transport::{AddressError, Connect, Stream};
