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
//! What it is made of is one connection: [`connect`] gives a [`Client`], which sends requests and may be cloned, and
//! [`Events`], what comes unasked. Requests are pipelined: whoever awaits several at once has them on the wire
//! together, and replies come in their order.
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
pub use error::{ClientError, ConnectionError, EventsEnded};
pub use events::{Event, Events};
pub use limits::{MESSAGE_BYTES, OUTBOX_BYTES, OUTBOX_MESSAGES};
pub use messenger_proto as proto;
pub use session::{
    ConnectionState, Incoming, Interruption, Receipt, RefusedMessage, SendError, Session,
    SessionEnd, SessionEvent, States,
};
pub use store::{FileStore, MemoryStore, StateStore};
pub use transport::{AddressError, Connect, Stream};
