//! The messenger protocol over TCP, over WebSocket, or over any other stream: a listener to embed, and the server's binary.
//!
//! [`Server::serve`] takes connections from a listener until it is told to stop. The rules are the [engine's](messenger_core::Engine); here is
//! only what a connection needs: reading, writing, and bounds on both.
//!
//! ```no_run
//! use messenger_core::Engine;
//! use messenger_server::{Server, Transport};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:7788").await?;
//!     let stop = async { _ = tokio::signal::ctrl_c().await };
//!     let server = Server::new(Engine::builder().build()?, Transport::default());
//!     server.serve(listener, stop).await;
//!     Ok(())
//! }
//! ```
//!
//! The binary is that with settings, commands, logs, monitoring and a page for browsers: `cargo install messenger-server`, then
//! `messenger-server --help`. It keeps everything in `messenger.db` in the working folder.
//!
//! # Embed it
//!
//! `cargo add messenger-server --no-default-features` brings the listener alone. It runs on your runtime, and installs nothing.
//!
//! - [`Server::serve_tls`] is the same over TLS, from a `rustls` configuration or from files ([`Tls`]).
//! - [`Server::connection`] serves one stream of your own, which [`Server::drain`] waits for: a socket that was passed, a tunnel.
//! - The feature `websocket` has the HTTP upgrade, as a route of your own router or as a listener.
//! - [`Server::stop`] ends it in good order: what has come whole is carried out, answered and flushed.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_server::{Server, Transport};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(Engine::builder().build()?, Transport::default());
//! let (mut client, stream) = tokio::io::duplex(4096);
//! tokio::spawn(server.connection(stream));
//!
//! client.write_all(br#"{"action":"contactlist","data":{}}"#).await?;
//! client.shutdown().await?;
//! let mut received = String::new();
//! client.read_to_string(&mut received).await?;
//! assert!(received.starts_with(r#"{"action":"welcome","#));
//! assert!(received.contains(r#"{"action":"contactlist","data":{"status":6,"#));
//! # Ok(())
//! # }
//! ```
//!
//! A store, a notifier, users and a transport of your own are [`messenger_core`]'s affair: what the engine is built with, this serves.
//!
//! # Guarantees
//!
//! - A message counts as delivered when it is written to the socket, or when a client that acknowledges has said so.
//! - A slow, broken or hostile client costs others nothing but the memory below. Attacks on a real server, beside honest clients, are part of every
//!   test run.
//! - The transport passes the suite of [`messenger_core`] that every transport must pass, over TCP and over WebSocket.
//!
//! # Limits
//!
//! All of them are in [`Transport`], with their defaults: 60,000 connections, 256 MiB of partial frames and 256 MiB of what waits to be written, of all
//! connections together; a frame of 16 KiB before a client has authenticated and of 16 MiB after; 30 seconds for a client that takes nothing.
//!
//! # Performance
//!
//! On 2 cores that clients share, without limits in time: 18,000 messages a second one at a time, 84,000 over 50 connections, 763,000 with 16 under way
//! on each, where a relay that only hands bytes on does 20,000, 100,000 and 1,241,000 (2026-11-29). An idle connection takes 3 KiB, with TLS 11.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `websocket` | the HTTP upgrade to WebSocket |
//! | `binary` | what the binary is made of, and [`Monitoring`], which is for embedders too |
//! | `sqlite`, `postgres`, `nats` | the binary's stores, and its notifier between servers |
//!
//! All are on by default. Settings, an operator's commands and the log are the binary's alone, and may change with every version.

mod budget;
#[cfg(feature = "binary")]
mod causes;
#[cfg(feature = "binary")]
#[doc(hidden)] // the binary's
pub mod certificate;
mod connection;
#[cfg(feature = "binary")]
mod dates;
#[cfg(feature = "binary")]
#[doc(hidden)] // the binary's
pub mod logs;
mod meters;
#[cfg(feature = "binary")]
mod monitoring;
#[cfg(feature = "binary")]
#[doc(hidden)] // the binary's
pub mod operator;
#[cfg(feature = "websocket")]
mod origins;
mod proxy;
mod server;
#[cfg(feature = "binary")]
mod settings;
mod stop;
mod tls;
mod transport;
#[cfg(feature = "binary")]
mod web;
#[cfg(feature = "websocket")]
pub mod websocket;
#[cfg(test)]
mod woken;

pub use ipnet::IpNet;
#[cfg(feature = "binary")]
pub use monitoring::{Monitoring, MonitoringError};
pub use server::{Drained, Server};
#[cfg(feature = "binary")]
#[doc(hidden)] // the binary's
pub use settings::{
    ListenSettings, LogFormat, MetricsListen, NotifierUrl, OtherNodes, Settings, SettingsError,
    StoreUrl, Switch,
};
pub use tls::{Tls, TlsError};
pub use tokio_rustls::rustls;
pub use transport::Transport;
