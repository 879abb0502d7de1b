//! A message for each frame, over WebSocket.

use super::{Came, Connection, LONGEST, Outgoing};
use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use std::io;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

pub(super) struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    pub(super) async fn connect(url: &str) -> io::Result<Self> {
        // Each message is to be a packet of its own.
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        let connected = connect_async_with_config(url, Some(config), true).await;
        let (socket, _) = connected.map_err(|error| match error {
            Error::Io(error) => error,
            other => io::Error::other(other),
        })?;
        Ok(Self(socket))
    }
}

#[async_trait]
impl Connection for WebSocket {
    async fn send(&mut self, what: Outgoing) {
        match what {
            Outgoing::Text(text) => drop(self.0.send(Message::text(text)).await),
            Outgoing::Bytes(bytes) => drop(self.0.send(Message::binary(bytes)).await),
            Outgoing::Bytewise(text) => {
                let last = text.len().saturating_sub(1);
                for (index, byte) in text.into_bytes().into_iter().enumerate() {
                    let kind = if index == 0 {
                        Data::Text
                    } else {
                        Data::Continue
                    };
                    let fragment = Frame::message(vec![byte], OpCode::Data(kind), index == last);
                    drop(self.0.send(Message::Frame(fragment)).await);
                }
            }
        }
    }

    async fn next(&mut self) -> Came {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Text(text))) => Came::Frame(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(reason))) => {
                    Came::Closed(reason.map(|reason| reason.code.into()))
                }
                Some(Ok(other)) => Came::Wrong(format!("no text message, but {other:?}")),
                // A reset is an end, too.
                None | Some(Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_))) => {
                    Came::Closed(None)
                }
                Some(Err(error)) => Came::Wrong(error.to_string()),
            };
        }
    }
}
