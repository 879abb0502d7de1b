//! Frames without a delimiter, over TCP.

use super::{Came, Connection, Outgoing};
use async_trait::async_trait;
use serde_json::Deserializer;
use serde_json::value::RawValue;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) struct Tcp {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Tcp {
    pub(super) async fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Each write is to be a packet of its own.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    /// The first frame of what was received, if it has come whole.
    fn frame(&mut self) -> Option<Came> {
        let first = *self.received.first()?;
        if first != b'{' {
            return Some(Came::Wrong(format!(
                "the byte 0x{first:02x} between frames"
            )));
        }
        let mut frames = Deserializer::from_slice(&self.received).into_iter::<&RawValue>();
        let came = match frames.next()? {
            Ok(frame) => Came::Frame(frame.get().to_owned()),
            Err(error) if error.is_eof() => return None,
            Err(error) => Came::Wrong(format!("no JSON: {error}")),
        };
        let end = frames.byte_offset();
        self.received.drain(..end);
        Some(came)
    }
}

#[async_trait]
impl Connection for Tcp {
    async fn send(&mut self, what: Outgoing) {
        match what {
            Outgoing::Text(text) => drop(self.stream.write_all(text.as_bytes()).await),
            Outgoing::Bytes(bytes) => drop(self.stream.write_all(&bytes).await),
            Outgoing::Bytewise(text) => {
                for byte in text.into_bytes() {
                    drop(self.stream.write_all(&[byte]).await);
                }
            }
        }
    }

    async fn next(&mut self) -> Came {
        loop {
            if let Some(came) = self.frame() {
                return came;
            }
            // A reset is an end, too.
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return match self.received.len() {
                    0 => Came::Closed(None),
                    partial => Came::Wrong(format!(
                        "the end, within a frame, behind {partial} bytes of it"
                    )),
                };
            }
        }
    }
}
