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
///
/// # Cancel safety
/// A call is dropped before it returns when its minute is over, and when the session ends or was never needed. What it has
/// opened has to be closed by that.
///
/// # Examples
/// ```
/// use messenger_client::{Client, Connect, Stream, async_trait};
/// # use messenger_client::proto::Password;
/// # use messenger_core::Engine;
/// use messenger_server::Server;
///
/// /// To a server in this process, without a socket.
/// #[derive(Debug)]
/// struct Beside(Server);
///
/// #[async_trait]
/// impl Connect for Beside {
///     async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
///         let (ours, theirs) = tokio::io::duplex(64 * 1024);
///         tokio::spawn(self.0.connection(theirs));
///         Ok(Box::new(ours))
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::new(Engine::builder().build()?, Default::default());
/// # let pass = Password::md5_of("secret");
/// let builder = Client::builder().connect_by(Beside(server)).credentials("ann", pass.clone());
/// # builder.connect().await?.0.register("ann", &pass, "Ann").await?;
/// let (session, mut incoming) = builder.start().await?;
/// # session.send("ann", "a note").await?;
/// # assert_eq!(incoming.next_message().await?.message.body.as_str(), "a note");
/// # Ok(())
/// # }
/// ```
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
