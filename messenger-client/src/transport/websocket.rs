//! WebSocket, one JSON object a text message, so that proxies of the web let the protocol pass.

use super::{Address, Scheme, Stream};
use bytes::{Buf, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use messenger_proto::{Split, Splitter};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How many bytes are between the connection and its tasks here.
const PIPE: usize = 64 * 1024;

/// The longest message that is taken, as long as the longest frame.
const LONGEST: usize = 16 * 1024 * 1024;

/// Makes a WebSocket of the stream, and a stream of frames of that. Its two tasks end with it.
pub(crate) async fn connect<S: Stream + 'static>(
    address: &Address,
    stream: S,
) -> io::Result<DuplexStream> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let connected = client_async_with_config(url(address), stream, Some(config)).await;
    let (socket, _) = connected.map_err(io_error)?;
    let (near, far) = duplex(PIPE);
    let (outgoing, incoming) = socket.split();
    let (from, to) = tokio::io::split(far);
    tokio::spawn(write(from, outgoing));
    tokio::spawn(read(incoming, to));
    Ok(near)
}

fn url(address: &Address) -> String {
    let Address {
        scheme,
        host,
        port,
        path,
    } = address;
    let scheme = match scheme {
        Scheme::WebSocketTls => "wss",
        _ => "ws",
    };
    let colons = host.contains(':');
    let (open, close) = if colons { ("[", "]") } else { ("", "") };
    format!("{scheme}://{open}{host}{close}:{port}{path}")
}

/// Sends each frame as a message of its own, until no more come.
async fn write<S: Stream>(
    mut from: ReadHalf<DuplexStream>,
    mut outgoing: SplitSink<WebSocketStream<S>, Message>,
) {
    let mut splitter = Splitter::new(LONGEST);
    let mut unsent = BytesMut::new();
    while let Ok(1..) = from.read_buf(&mut unsent).await {
        while let Ok(split) = splitter.split(&unsent) {
            let frame = match split {
                Split::Partial { skip } => {
                    unsent.advance(skip);
                    break;
                }
                Split::Frame(place) => {
                    let start = place.start;
                    let mut frame = unsent.split_to(place.end);
                    frame.advance(start);
                    frame.freeze()
                }
            };
            let Ok(text) = Utf8Bytes::try_from(frame) else {
                return;
            };
            if outgoing.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    }
    let _ = outgoing.close().await;
}

/// Takes messages until the other side sends no more. Pings are answered on the way.
async fn read<S: Stream>(
    mut incoming: SplitStream<WebSocketStream<S>>,
    mut to: WriteHalf<DuplexStream>,
) {
    while let Some(Ok(message)) = incoming.next().await {
        let written = match message {
            Message::Text(text) => to.write_all(text.as_bytes()).await,
            Message::Binary(bytes) => to.write_all(&bytes).await,
            _ => Ok(()),
        };
        if written.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
