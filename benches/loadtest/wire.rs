//! Raw connections that cost the load tool next to nothing: frames are told apart by how they begin.
//!
//! Before each frame a relay wants its length and its destination, 4 bytes each. Otherwise it is sent
//! and received the very bytes that a server is. NATS has frames of its own, in `nats`.

use crate::{Failed, nats, websocket};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::memmem::Finder;
use messenger_client::proto::{Password, Split, Splitter};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The longest frame, in bytes.
const FRAME: usize = 64 * 1024 * 1024;

/// How much is read at once, in bytes, or as much as was received of a frame: thousands of connections
/// must not need more memory than a processor's cache has.
const CHUNK: usize = 16 * 1024;

/// How every event and every answer to a message begins.
const EVENT: &[u8] = br#"{"action":"ev_message","#;
pub(crate) const ANSWER: &[u8] = br#"{"action":"message","#;

/// What stands before a body, in a request and in an event.
const BODY: &[u8] = br#""body":""#;

static BODY_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BODY));

/// What stands in the answer to a request that was carried out.
static SUCCESS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""status":0"#));

/// How much stands before each frame for a relay, in bytes.
pub(crate) const RELAY_HEAD: usize = 8;

/// The destination by which a relay is told whose connection it is.
pub(crate) const HELLO: u32 = u32::MAX;

/// How many connections come from one address.
const PORTS: u32 = 20_000;

/// How many register at once.
const REGISTERING: usize = 4;

/// How many servers a load is spread over at the most.
pub(crate) const NODES: usize = 3;

/// Whom the load is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Where clients come in: at one server, or at each of several by turns.
    pub(crate) nodes: [SocketAddr; NODES],
    /// Both of a pair come in at the same of them.
    pub(crate) pairs_share: bool,
    /// Where senders and recipients come in over WebSocket, instead.
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) protocol: Protocol,
    /// The servers' processes.
    pub(crate) pids: [Option<u32>; NODES],
}

impl Target {
    /// Where somebody comes in. A pair are two who follow one another.
    fn node_of(&self, user: &User) -> SocketAddr {
        let user = usize::try_from(user.number).unwrap_or_default();
        let number = if self.pairs_share { user / 2 } else { user };
        self.nodes[number % NODES]
    }

    /// Where those come in for whom it does not matter.
    pub(crate) fn any_node(&self) -> SocketAddr {
        self.nodes[0]
    }
}

/// What those speak whom the load is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A server's.
    Messenger,
    Relay,
    Nats,
}

/// Someone who sends or receives.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) number: u32,
    pub(crate) login: String,
    pub(crate) sid: String,
}

pub(crate) struct Wire {
    stream: TcpStream,
    framing: Framing,
    received: BytesMut,
    pub(crate) out: BytesMut,
}

/// How frames are told apart.
enum Framing {
    Relay,
    Server(Box<Splitter>),
    WebSocket,
    Nats,
}

impl User {
    /// Registers so many.
    pub(crate) async fn register_all(target: Target, count: usize) -> Result<Vec<Self>, Failed> {
        #[allow(clippy::disallowed_methods)] // names must differ from those of earlier runs
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let run = u64::try_from(now.as_micros())?;
        let mut users = Vec::new();
        let mut registering = JoinSet::new();
        for number in 0..u32::try_from(count)? {
            if registering.len() == REGISTERING
                && let Some(user) = registering.join_next().await
            {
                users.push(user??);
            }
            if number > 0 && number % 100 == 0 {
                eprintln!("{number} of {count} users have registered");
            }
            registering.spawn(Self::register(target, run, number));
        }
        while let Some(user) = registering.join_next().await {
            users.push(user??);
        }
        users.sort_unstable_by_key(|user| user.number);
        Ok(users)
    }

    /// Registers, unless it is a relay or NATS, which know nobody.
    async fn register(target: Target, run: u64, number: u32) -> Result<Self, Failed> {
        let login = format!("load-{run:x}-{number}");
        let mut sid = String::new();
        if target.protocol == Protocol::Messenger {
            let (client, _events) = messenger_client::connect(target.any_node()).await?;
            let pass = Self::pass();
            client.register(&login, &pass, &login).await?;
            sid = client.auth(&login, &pass).await?.sid.as_str().to_owned();
        }
        Ok(Self { number, login, sid })
    }
}

impl User {
    /// Everybody's.
    pub(crate) fn pass() -> Password {
        Password::md5_of("load")
    }

    /// The same user with one more session.
    pub(crate) async fn on_another_device(&self, target: Target) -> Result<Self, Failed> {
        let (client, _events) = messenger_client::connect(target.any_node()).await?;
        let session = client.auth(&self.login, &Self::pass()).await?;
        Ok(Self {
            sid: session.sid.as_str().to_owned(),
            ..self.clone()
        })
    }
}

impl Wire {
    /// Connects as this user, who goes on with the session.
    pub(crate) async fn connect(target: Target, user: &User) -> Result<Self, Failed> {
        if target.protocol == Protocol::Messenger {
            let User { login, sid, .. } = user;
            let resume =
                format!(r#"{{"action":"contactlist","data":{{"cid":"{login}","sid":"{sid}"}}}}"#);
            return Self::connect_with(target, user, &resume).await;
        }
        let mut wire = Self::open(target, target.any_node()).await?;
        wire.put_hello(user);
        wire.flush().await?;
        wire.frame().await?;
        Ok(wire)
    }

    /// Queues whose connection it is.
    fn put_hello(&mut self, user: &User) {
        if let Framing::Nats = self.framing {
            return nats::put_hello(&mut self.out, user.number);
        }
        self.out.put_u32(4);
        self.out.put_u32(HELLO);
        self.out.put_u32(user.number);
    }

    /// Connects as this user, whose password is asked for.
    pub(crate) async fn connect_by_password(target: Target, user: &User) -> Result<Self, Failed> {
        let (login, pass) = (&user.login, User::pass());
        let pass = pass.as_str();
        let auth = format!(r#"{{"action":"auth","data":{{"login":"{login}","pass":"{pass}"}}}}"#);
        Self::connect_with(target, user, &auth).await
    }

    /// Connects as nobody.
    pub(crate) async fn connect_unknown(target: Target) -> Result<Self, Failed> {
        let mut wire = Self::open(target, target.any_node()).await?;
        wire.frame().await?;
        Ok(wire)
    }

    async fn connect_with(target: Target, user: &User, request: &str) -> Result<Self, Failed> {
        let mut wire = Self::open(target, target.node_of(user)).await?;
        wire.out.put_slice(request.as_bytes());
        wire.end_frame(0);
        wire.flush().await?;
        // The welcome, and then the answer.
        wire.frame().await?;
        let answer = wire.frame().await?;
        if SUCCESS.find(&answer).is_none() {
            return Err("a client was refused (--no-rate-limits?)".into());
        }
        Ok(wire)
    }

    async fn open(target: Target, node: SocketAddr) -> Result<Self, Failed> {
        let address = target.websocket.unwrap_or(node);
        let mut stream = connect(address).await?;
        stream.set_nodelay(true)?;
        let framing = match target.protocol {
            Protocol::Relay => Framing::Relay,
            Protocol::Nats => Framing::Nats,
            Protocol::Messenger if target.websocket.is_some() => {
                websocket::upgrade(&mut stream).await?;
                Framing::WebSocket
            }
            Protocol::Messenger => Framing::Server(Box::new(Splitter::new(FRAME))),
        };
        Ok(Self {
            stream,
            framing,
            received: BytesMut::new(),
            out: BytesMut::new(),
        })
    }

    /// Queues a message with this body and this attachment to this user.
    pub(crate) fn send(&mut self, to: &User, from: &User, body: &[u8], attached: &[u8]) {
        if let Framing::Nats = self.framing {
            let (to, from) = (to.number, from.number);
            return nats::put_message(&mut self.out, to, from, [body, attached]);
        }
        let is_relay = matches!(self.framing, Framing::Relay);
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
            self.out
                .put_slice(br#"","time":1800000000,"attach":{"mime":"","data":""#);
            self.out.put_slice(attached);
            self.out.put_slice(br#""},"to":""#);
            self.out.put_slice(to.login.as_bytes());
            self.out
                .put_slice(br#"","id":"0123456789abcdef-12345","seq":123456}}"#);
            let length = u32::try_from(self.out.len() - begin - RELAY_HEAD).unwrap_or(u32::MAX);
            self.out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
        } else if attached.is_empty() {
            self.out.put_slice(br#""}}"#);
        } else {
            self.out.put_slice(br#"","attach":{"mime":"","data":""#);
            self.out.put_slice(attached);
            self.out.put_slice(br#""}}}"#);
        }
        self.end_frame(begin);
    }

    /// What was queued from here on is a frame.
    fn end_frame(&mut self, begin: usize) {
        if let Framing::WebSocket = self.framing {
            websocket::put_header(&mut self.out, begin);
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Failed> {
        Ok(self.stream.write_all_buf(&mut self.out).await?)
    }

    /// As [`flush`](Self::flush), in pieces of so many bytes, and receives meanwhile: a server does not
    /// read on from a client that takes nothing.
    pub(crate) async fn flush_in(&mut self, piece: usize) -> Result<(), Failed> {
        let (mut input, mut output) = self.stream.split();
        while !self.out.is_empty() {
            let piece = piece.min(self.out.len());
            self.received.reserve(CHUNK.max(self.received.len()));
            tokio::select! {
                written = output.write(&self.out[..piece]) => self.out.advance(written?),
                read = input.read_buf(&mut self.received) => if read? == 0 {
                    return Err("the server has closed a connection".into());
                },
            }
        }
        Ok(())
    }

    /// Gives back what was kept to receive into.
    pub(crate) fn rest(&mut self) {
        self.received = BytesMut::new();
        self.out = BytesMut::new();
    }

    /// The next frame, once it has come. What is queued is sent before that is waited for. Nothing is lost when the
    /// future is dropped.
    pub(crate) async fn frame(&mut self) -> Result<Bytes, Failed> {
        loop {
            if let Some(frame) = self.received()? {
                return Ok(frame);
            }
            self.received.reserve(CHUNK.max(self.received.len()));
            let (mut input, mut output) = self.stream.split();
            tokio::select! {
                biased;
                // Answers to what has come, as to pings.
                written = output.write_buf(&mut self.out), if !self.out.is_empty() => {
                    written?;
                }
                read = input.read_buf(&mut self.received) => if read? == 0 {
                    return Err("the server has closed a connection".into());
                },
            }
        }
    }

    /// The next frame, if it has come.
    pub(crate) fn received(&mut self) -> Result<Option<Bytes>, Failed> {
        let splitter = match &mut self.framing {
            Framing::Relay => return Ok(take_relayed(&mut self.received)),
            Framing::Nats => return nats::take_frame(&mut self.received, &mut self.out),
            Framing::WebSocket => {
                return websocket::take_message(&mut self.received, &mut self.out);
            }
            Framing::Server(splitter) => splitter,
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

/// Connects from one loopback address after the other: each has ports for so many connections.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let opened = OPENED.fetch_add(1, Ordering::Relaxed);
    let host = u8::try_from(opened / PORTS % 100).unwrap_or_default();
    if host == 0 || !to.ip().is_loopback() || to.is_ipv6() {
        return TcpStream::connect(to).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 1 + host), 0).into())?;
    socket.connect(to).await
}

/// A relay's next frame, if it is whole.
fn take_relayed(received: &mut BytesMut) -> Option<Bytes> {
    let (_, length) = relayed(received)?;
    let mut frame = received.split_to(length);
    frame.advance(RELAY_HEAD);
    Some(frame.freeze())
}

/// The destination of a relay's next frame, and how long it is with what stands before it, if it is whole.
pub(crate) fn relayed(received: &[u8]) -> Option<(u32, usize)> {
    let mut head = received.get(..RELAY_HEAD)?;
    let (length, destination) = (head.get_u32(), head.get_u32());
    let length = RELAY_HEAD + usize::try_from(length).unwrap_or(FRAME);
    (received.len() >= length).then_some((destination, length))
}

/// True for the answer to a message; false for any other frame.
pub(crate) fn is_accepted(frame: &[u8]) -> Result<bool, Failed> {
    if !frame.starts_with(ANSWER) {
        return Ok(nats::is_answer(frame));
    }
    match SUCCESS.find(frame) {
        Some(_) => Ok(true),
        None => Err("a message was refused (--no-rate-limits?)".into()),
    }
}

/// The two numbers at the beginning of an event's body; nothing if it is any other frame.
pub(crate) fn numbers(frame: &[u8]) -> Option<(u64, u64)> {
    let body = if frame.starts_with(EVENT) {
        frame.get(BODY_FINDER.find(frame)? + BODY.len()..)?
    } else {
        nats::payload(frame)?
    };
    let digits = std::str::from_utf8(body.get(..32)?).ok()?;
    let number = |part: &str| u64::from_str_radix(part, 16).ok();
    Some((number(&digits[..16])?, number(&digits[16..])?))
}

/// A body that begins with these numbers.
pub(crate) fn write_numbers(body: &mut [u8], one: u64, other: u64) {
    // There is room for them.
    let _ = write!(&mut body[..32], "{one:016x}{other:016x}");
}
