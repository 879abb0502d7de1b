//! How a session reaches its server.

use async_trait::async_trait;
use std::fmt::Debug;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

mod address;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

pub(crate) use address::Address;
pub use address::AddressError;
#[cfg(feature = "websocket")]
pub(crate) use address::Scheme;
#[cfg(feature = "tls")]
pub(crate) use tls::Tls;

/// What carries the protocol's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections, one after the other.
#[async_trait]
pub trait Connect: Debug + Send + Sync + 'static {
    /// Connects once. A session gives up after a minute, and tries again later.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn connect(&self) -> io::Result<Box<dyn Stream>>;
}

/// Connects as an address says.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) address: Address,
    /// Given when the address asks for it.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

#[async_trait]
impl Connect for Transport {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let Address { host, port, .. } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return self.upgraded(tls.connect(host, stream).await?).await;
        }
        self.upgraded(stream).await
    }
}

impl Transport {
    /// Speaks WebSocket over the stream, if the address says so.
    async fn upgraded(&self, stream: impl Stream + 'static) -> io::Result<Box<dyn Stream>> {
        match self.address.scheme {
            #[cfg(feature = "websocket")]
            Scheme::WebSocket | Scheme::WebSocketTls => {
                Ok(Box::new(websocket::connect(&self.address, stream).await?))
            }
            _ => Ok(Box::new(stream)),
        }
    }
}
