//! The messenger protocol over TCP, over WebSocket, or over any other stream.
//!
//! [`Server::serve`] takes connections from a listener until it is told to stop;
//! [`Server::connection`] serves one stream of the embedder's own, which [`Server::drain`] waits for. The rules are the
//! [engine's](messenger_core::Engine); here is only what a connection needs: reading, writing, and
//! bounds on both.
//!
//! The feature `websocket` has the HTTP upgrade to WebSocket, for an embedder's own router and for a listener.
//!
//! What the server's binary is made of lies behind the features `binary`, `sqlite` (the store in a file), `postgres` (the
//! store in a database) and `nats` (several servers on one). All are on by default; the listener needs none.
//! [`Monitoring`] is for embedders too. Settings, an operator's commands
//! and the log are the binary's alone, and may change with every version.
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
mod proxy;
mod server;
#[cfg(feature = "binary")]
mod settings;
mod tls;
mod transport;
#[cfg(feature = "binary")]
mod web;
#[cfg(feature = "websocket")]
pub mod websocket;

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

/// The README's program compiles as printed.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
