//! Raw connections that cost the load tool next to nothing: frames are told apart by how they begin.
//!
//! Before each frame a relay wants its length and its destination, 4 bytes each. Otherwise it is sent
//! and received the very bytes that a server is.

use crate::Failed;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use messenger_client::proto::{Password, Split, Splitter};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest frame, in bytes.
const FRAME: usize = 64 * 1024 * 1024;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// How every event and every answer to a message begins.
pub(crate) const EVENT: &[u8] = br#"{"action":"ev_message","#;
pub(crate) const ANSWER: &[u8] = br#"{"action":"message","#;

/// What stands before a body, in a request and in an event.
const BODY: &[u8] = br#""body":""#;

/// The destination by which a relay is told whose connection it is.
pub(crate) const HELLO: u32 = u32::MAX;

/// Whom the load is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) is_relay: bool,
}

/// Someone who sends or receives.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) number: u32,
    pub(crate) login: String,
    sid: String,
}

pub(crate) struct Wire {
    stream: TcpStream,
    splitter: Option<Splitter>,
    received: BytesMut,
    pub(crate) out: BytesMut,
}

impl User {
    /// Registers, unless the server is a relay, which knows nobody.
    pub(crate) async fn register(peer: Peer, run: u64, number: u32) -> Result<Self, Failed> {
        let login = format!("load-{run:x}-{number}");
        let mut sid = String::new();
        if !peer.is_relay {
            let (client, _events) = messenger_client::connect(peer.address).await?;
            let pass = Password::md5_of("load");
            client.register(&login, &pass, &login).await?;
            sid = client.auth(&login, &pass).await?.sid.as_str().to_owned();
        }
        Ok(Self { number, login, sid })
    }
}

impl Wire {
    /// Connects as this user.
    pub(crate) async fn connect(peer: Peer, user: &User) -> Result<Self, Failed> {
        let stream = TcpStream::connect(peer.address).await?;
        stream.set_nodelay(true)?;
        let mut wire = Self {
            stream,
            splitter: (!peer.is_relay).then(|| Splitter::new(FRAME)),
            received: BytesMut::new(),
            out: BytesMut::new(),
        };
        if peer.is_relay {
            wire.out.put_u32(4);
            wire.out.put_u32(HELLO);
            wire.out.put_u32(user.number);
            wire.flush().await?;
            wire.frame().await?;
        } else {
            let User { login, sid, .. } = user;
            let resume =
                format!(r#"{{"action":"contactlist","data":{{"cid":"{login}","sid":"{sid}"}}}}"#);
            wire.out.put_slice(resume.as_bytes());
            wire.flush().await?;
            // The welcome and the answer.
            for _ in 0..2 {
                wire.frame().await?;
            }
        }
        Ok(wire)
    }

    /// Queues a message with this body to this user.
    pub(crate) fn send(&mut self, to: &User, from: &User, body: &[u8]) {
        let is_relay = self.splitter.is_none();
        let begin = self.out.len();
        if is_relay {
            self.out.put_u32(0);
            self.out.put_u32(to.number);
            // What a server would make of the request, so that the recipient gets as many bytes.
            self.out.put_slice(EVENT);
            self.out.put_slice(br#""data":{"from":""#);
            self.out.put_slice(from.login.as_bytes());
            self.out.put_slice(br#"","nick":""#);
            self.out.put_slice(from.login.as_bytes());
            self.out.put_slice(br#"","#);
        } else {
            self.out
                .put_slice(br#"{"action":"message","data":{"uid":""#);
            self.out.put_slice(to.login.as_bytes());
            self.out.put_slice(br#"","#);
        }
        self.out.put_slice(BODY);
        self.out.put_slice(body);
        if is_relay {
            let rest = br#"","time":1800000000,"attach":{"mime":"","data":""},"to":""#;
            self.out.put_slice(rest);
            self.out.put_slice(to.login.as_bytes());
            self.out
                .put_slice(br#"","id":"0123456789abcdef-12345","seq":123456}}"#);
            let length = u32::try_from(self.out.len() - begin - 8).unwrap_or(u32::MAX);
            self.out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
        } else {
            self.out.put_slice(br#""}}"#);
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Failed> {
        Ok(self.stream.write_all_buf(&mut self.out).await?)
    }

    /// The next frame, once it has come.
    pub(crate) async fn frame(&mut self) -> Result<Bytes, Failed> {
        loop {
            if let Some(frame) = self.received()? {
                return Ok(frame);
            }
            self.received.reserve(CHUNK);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server has closed a connection".into());
            }
        }
    }

    /// The next frame, if it has come.
    pub(crate) fn received(&mut self) -> Result<Option<Bytes>, Failed> {
        let Some(splitter) = &mut self.splitter else {
            return Ok(take_relayed(&mut self.received).map(|(_, frame)| frame));
        };
        match splitter.split(&self.received)? {
            Split::Partial { skip } => {
                self.received.advance(skip);
                Ok(None)
            }
            Split::Frame(place) => {
                self.received.advance(place.start);
                Ok(Some(self.received.split_to(place.len()).freeze()))
            }
        }
    }
}

/// A relay's next frame and its destination, if it is whole.
pub(crate) fn take_relayed(received: &mut BytesMut) -> Option<(u32, Bytes)> {
    let mut head = received.get(..8)?;
    let (length, destination) = (head.get_u32(), head.get_u32());
    let end = 8 + usize::try_from(length).unwrap_or(FRAME);
    if received.len() < end {
        return None;
    }
    let mut frame = received.split_to(end);
    frame.advance(8);
    Some((destination, frame.freeze()))
}

/// The two numbers at the beginning of an event's body.
pub(crate) fn numbers(event: &[u8]) -> Option<(u64, u64)> {
    let begin = memchr::memmem::find(event, BODY)? + BODY.len();
    let digits = std::str::from_utf8(event.get(begin..begin + 32)?).ok()?;
    let number = |part: &str| u64::from_str_radix(part, 16).ok();
    Some((number(&digits[..16])?, number(&digits[16..])?))
}

/// A body that begins with these numbers.
pub(crate) fn write_numbers(body: &mut [u8], one: u64, other: u64) {
    let digits = format!("{one:016x}{other:016x}");
    body[..32].copy_from_slice(digits.as_bytes());
}
