//! The least that a server can do: it hands frames on as they are, and answers.
//!
//! A connection reads as much as there is, copies all frames in a row for one recipient at once, and writes once what
//! that and others have left for it.

use crate::Failed;
use crate::wire::{ANSWER, HELLO, RELAY_HEAD, relayed};
use bytes::{Buf, BufMut, BytesMut};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// What stands behind [`ANSWER`]: as many bytes as a server's answer has.
const ANSWERED: &[u8] =
    br#""data":{"status":0,"error":"","id":"0123456789abcdef-12345","time":1800000000}}"#;

/// What others have left for a connection.
#[derive(Debug, Default)]
struct Left {
    bytes: Vec<u8>,
    /// The connection's, until it is woken.
    waker: Option<Waker>,
}

type User = Arc<Mutex<Left>>;
type Users = Arc<RwLock<HashMap<u32, User>>>;

pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Failed> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("listening address={}", listener.local_addr()?);
    let users = Users::default();
    let mut answer = Vec::new();
    put(&mut answer, &[ANSWER, ANSWERED]);
    let answer: Arc<[u8]> = answer.into();
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let mut connection = Connection {
            stream,
            users: Arc::clone(&users),
            answer: Arc::clone(&answer),
            received: BytesMut::new(),
            out: Vec::new(),
            written: 0,
            left: User::default(),
            last: None,
        };
        // A connection that ends is of no interest.
        tokio::spawn(async move { poll_fn(|cx| connection.poll_turn(cx)).await.is_ok() });
    }
}

struct Connection {
    stream: TcpStream,
    users: Users,
    answer: Arc<[u8]>,
    received: BytesMut,
    out: Vec<u8>,
    /// How much of it is written.
    written: usize,
    left: User,
    /// To whom it has handed on last.
    last: Option<(u32, User)>,
}

impl Connection {
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.received.reserve(CHUNK);
            match pin!(self.stream.read_buf(&mut self.received)).poll(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => self.hand_on(),
                Poll::Pending => break,
            }
        }
        self.take_left(cx);
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            self.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        self.out.clear();
        self.written = 0;
        Poll::Pending
    }

    /// Takes what others have left until now. They wake it when there is more.
    fn take_left(&mut self, cx: &Context<'_>) {
        let mut left = self.left.lock();
        left.waker = Some(cx.waker().clone());
        if self.out.is_empty() {
            std::mem::swap(&mut left.bytes, &mut self.out);
        } else {
            self.out.append(&mut left.bytes);
        }
    }

    /// Hands on all frames that are whole.
    fn hand_on(&mut self) {
        while let Some((destination, length)) = relayed(&self.received) {
            if destination == HELLO {
                let user = (&self.received[RELAY_HEAD..length]).get_u32();
                self.users.write().insert(user, Arc::clone(&self.left));
                put(&mut self.out, &[b"{}"]);
                self.received.advance(length);
                continue;
            }
            let (mut end, mut frames) = (length, 1);
            while let Some((next, length)) = relayed(&self.received[end..])
                && next == destination
            {
                end += length;
                frames += 1;
            }
            self.hand_to(destination, end, frames);
            self.received.advance(end);
        }
    }

    /// Hands on so many frames, which are the first so many bytes of what was received, and answers.
    fn hand_to(&mut self, destination: u32, end: usize, frames: usize) {
        if self
            .last
            .as_ref()
            .is_none_or(|(last, _)| *last != destination)
        {
            let user = self.users.read().get(&destination).cloned();
            self.last = user.map(|user| (destination, user));
        }
        let Some((_, user)) = &self.last else {
            return;
        };
        let mut left = user.lock();
        left.bytes.extend_from_slice(&self.received[..end]);
        let waker = left.waker.take();
        drop(left);
        for _ in 0..frames {
            self.out.extend_from_slice(&self.answer);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Adds a frame of these parts.
fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_u32(0);
    for part in parts {
        out.put_slice(part);
    }
}
