//! A client over WebSocket of raw frames, which may be wrong on purpose.

use super::SOON;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What any client masks with, here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) struct WebSocket<S = TcpStream> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

/// How the server ended the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a close code.
    Closed(u16),
    /// Without a word.
    Cut,
}

impl WebSocket {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    /// Connects, reads the welcome, registers unless that was done, and authenticates.
    pub(crate) async fn log_in(address: SocketAddr, login: &str) -> Self {
        let mut socket = Self::connect(address).await;
        assert_eq!(socket.object().await["action"], "welcome");
        socket.authenticate(login).await;
        socket
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Makes a WebSocket of the stream.
    pub(crate) async fn over(stream: S) -> Self {
        Self::over_at(stream, "/").await
    }

    /// The same, at this path.
    pub(crate) async fn over_at(mut stream: S, path: &str) -> Self {
        let head = ask(&mut stream, path, "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // Browsers look at each of these. The key is the example of RFC 6455.
        let says = |line| head.to_ascii_lowercase().lines().any(|it| it == line);
        assert!(says("connection: upgrade"), "{head}");
        assert!(says("upgrade: websocket"), "{head}");
        let accepted = head
            .to_ascii_lowercase()
            .lines()
            .any(|line| line == "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=");
        assert!(accepted, "{head}");
        assert!(!head.to_ascii_lowercase().contains("extensions"), "{head}");
        Self::of(stream)
    }

    /// The stream is a WebSocket already.
    pub(crate) fn of(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub(crate) async fn authenticate(&mut self, login: &str) {
        let data = format!(r#"{{"login":"{login}","pass":"secret","nick":"Nick {login}"}}"#);
        self.send(&format!(r#"{{"action":"register","data":{data}}}"#))
            .await;
        let registered = self.object().await;
        let status = &registered["data"]["status"];
        assert!(*status == 0 || *status == 1, "{registered}");
        self.send(&format!(r#"{{"action":"auth","data":{data}}}"#))
            .await;
        let accepted = self.object().await;
        assert_eq!(accepted["data"]["status"], 0, "{accepted}");
    }

    /// Sends a text message in one frame.
    pub(crate) async fn send(&mut self, text: &str) {
        self.send_frame(FIN | TEXT, text.as_bytes()).await;
    }

    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = timeout(SOON, self.stream.write_all(bytes)).await;
        sent.expect("the server takes it").unwrap();
    }

    /// The next message, which holds one object and nothing else.
    pub(crate) async fn object(&mut self) -> Value {
        let text = self.message().await.expect("a message, not the end");
        serde_json::from_slice(&text).expect("one object a message")
    }

    /// The next message, put together from its fragments; how the connection ended if there is none.
    pub(crate) async fn message(&mut self) -> Result<Vec<u8>, Ended> {
        let mut message = Vec::new();
        let mut wanted = TEXT;
        loop {
            let Some((first, payload)) = self.next_frame().await else {
                return Err(Ended::Cut);
            };
            match first & 0x0f {
                CLOSE => return Err(self.closed(&payload).await),
                PING | PONG => continue,
                opcode => assert_eq!(opcode, wanted),
            }
            message.extend_from_slice(&payload);
            if first & FIN != 0 {
                return Ok(message);
            }
            wanted = CONTINUATION;
        }
    }

    /// How the server ends the connection, whatever it sends before.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.message().await {
                return ended;
            }
        }
    }

    /// Nothing comes behind a close.
    async fn closed(&mut self, payload: &[u8]) -> Ended {
        let (code, sentence) = payload.split_first_chunk::<2>().expect("a close code");
        std::str::from_utf8(sentence).expect("a sentence");
        assert!(payload.len() <= 125);
        // A client answers and goes; the server may be gone by then.
        let _ = self.stream.write_all(&frame(FIN | CLOSE, code)).await;
        let _ = self.stream.shutdown().await;
        assert_eq!(self.next_frame().await, None, "behind a close");
        Ended::Closed(u16::from_be_bytes(*code))
    }

    /// The next frame: its first byte and its payload; `None` at the end of the stream.
    pub(crate) async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(SOON, async {
            loop {
                if let Some((first, payload, taken)) = parse(&self.received) {
                    self.received.drain(..taken);
                    return Some((first, payload));
                }
                // A reset is an end, too.
                if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                    assert!(self.received.is_empty(), "the server ended within a frame");
                    return None;
                }
            }
        })
        .await
        .expect("a frame in time")
    }
}

/// Sends a request for a WebSocket at this path, with more headers; the head of the answer.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    headers: &str,
) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    head(stream).await
}

/// The head of an HTTP answer, and nothing behind it.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(SOON, read).await.expect("an answer");
    String::from_utf8(head).unwrap()
}

/// A client's frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's frame at the beginning of these bytes: its first byte, its payload, and its length.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    assert_eq!(second & 0x80, 0, "a server's frame is not masked");
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).unwrap(), rest)
        }
        length => (usize::from(length), rest),
    };
    let payload = rest.get(..length)?.to_vec();
    Some((first, payload, bytes.len() - rest.len() + length))
}
