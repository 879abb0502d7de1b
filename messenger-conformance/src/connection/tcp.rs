//! Frames without a delimiter, over TCP.

use super::{Came, Connection, LONGEST, Outgoing};
use async_trait::async_trait;
use messenger_proto::{Split, Splitter};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) struct Tcp {
    stream: TcpStream,
    splitter: Splitter,
    received: Vec<u8>,
}

impl Tcp {
    pub(super) async fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // Each write is to be a packet of its own.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            splitter: Splitter::new(LONGEST),
            received: Vec::new(),
        })
    }

    /// The first frame of what was received, if it has come whole.
    fn frame(&mut self) -> Option<Came> {
        let first = *self.received.first()?;
        if first != b'{' {
            let sentence = format!("the byte 0x{first:02x} between frames");
            return Some(Came::Wrong(sentence));
        }
        let end = match self.splitter.split(&self.received) {
            Ok(Split::Frame(place)) => place.end,
            Ok(Split::Partial { .. }) => return None,
            Err(error) => return Some(Came::Wrong(error.to_string())),
        };
        let frame = self.received.drain(..end).collect();
        Some(match String::from_utf8(frame) {
            Ok(frame) => Came::Frame(frame),
            Err(_) => Came::Wrong("a frame that is not UTF-8".into()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_frame_without_an_end_is_not_read_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut client = Tcp::connect(&address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let endless = async {
            server.write_all(b"{\"").await.unwrap();
            while server.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
        };
        tokio::select! {
            () = endless => panic!("the client is gone"),
            came = client.next() => assert!(matches!(came, Came::Wrong(_)), "{came:?}"),
        }
        assert!(client.received.len() < 2 * LONGEST);
    }
}
