//! A connection to the server, over either transport.

mod tcp;
mod websocket;

use crate::rule::Transport;
use async_trait::async_trait;
use std::io;
use tcp::Tcp;
use websocket::WebSocket;

/// The longest frame that is read, in bytes. No answer to what the rules ask for is nearly as long.
const LONGEST: usize = 16 * 1024 * 1024;

/// Where the server is.
#[derive(Debug)]
pub(crate) enum Target {
    /// `HOST:PORT`.
    Tcp(String),
    /// `ws://HOST:PORT/`.
    WebSocket(String),
}

impl Target {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Tcp(_) => Transport::Tcp,
            Self::WebSocket(_) => Transport::WebSocket,
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(Tcp::connect(address).await?),
            Self::WebSocket(url) => Box::new(WebSocket::connect(url).await?),
        })
    }
}

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum Came {
    /// A frame, as it was written.
    Frame(String),
    /// The end, over WebSocket with the code that says why, if there was one.
    Closed(Option<u16>),
    /// Something that is neither, as a sentence.
    Wrong(String),
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A text in one write, or as one message.
    Text(String),
    /// A text in as many writes, or fragments of a message, as it has bytes.
    Bytewise(String),
    /// Bytes in one write, or as one binary message.
    Bytes(Vec<u8>),
}

#[async_trait]
pub(crate) trait Connection {
    /// What a failure means shows when the server is read: it may have answered before it closed.
    async fn send(&mut self, what: Outgoing);

    async fn next(&mut self) -> Came;
}
