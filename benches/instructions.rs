//! What a message costs a server in instructions, from the sender's bytes to the recipient's.
//! `scripts/instructions` runs it under callgrind, which counts what [`measured`] does.
//!
//! All is done by one thread, and the connections are in memory: no system call is counted, and two
//! runs differ by next to nothing.

#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

use bytes::{Buf, BytesMut};
use messenger_core::Engine;
use messenger_core::proto::{Auth, Braces, Inbound, Register, SendMessage, Split, Splitter};
use messenger_server::{Monitoring, Server, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

/// How many messages are sent at once.
const WINDOW: usize = 16;

/// How many are counted.
const MESSAGES: usize = 4000;

/// How many go before, so that what is done once is not counted.
const WARM_UP: usize = 400;

/// A message's body, in bytes.
const BODY: usize = 100;

/// What a stream holds on its way, in bytes.
const STREAM: usize = 256 * 1024;

/// A client, as cheap as can be: it only tells frames apart.
struct Client {
    stream: DuplexStream,
    splitter: Splitter,
    received: BytesMut,
}

impl Client {
    async fn join(server: &Server, login: &str) -> Self {
        let account = Register::new(login, "secret", login);
        server.engine().connect().call(account).await.unwrap();
        let (stream, other) = duplex(STREAM);
        tokio::spawn(server.connection(other));
        let mut client = Self {
            stream,
            splitter: Splitter::new(STREAM),
            received: BytesMut::with_capacity(STREAM),
        };
        let auth = Auth::new(login, "secret");
        let mut frame = BytesMut::new();
        Inbound::new(auth).encode(&mut frame, Braces::Plain);
        client.stream.write_all(&frame).await.unwrap();
        // The welcome, and the answer.
        client.receive(2).await;
        client
    }

    /// Waits for so many frames.
    async fn receive(&mut self, mut frames: usize) {
        while frames > 0 {
            match self.splitter.split(&self.received).unwrap() {
                Split::Frame(place) => {
                    self.received.advance(place.end);
                    frames -= 1;
                }
                Split::Partial { skip } => {
                    self.received.advance(skip);
                    self.received.reserve(STREAM);
                    self.stream.read_buf(&mut self.received).await.unwrap();
                }
            }
        }
    }
}

/// Sends so many messages.
fn exchange(runtime: &Runtime, from: &mut Client, to: &mut Client, requests: &[u8], count: usize) {
    runtime.block_on(async {
        for _ in 0..count / WINDOW {
            from.stream.write_all(requests).await.unwrap();
            // Each is answered, and followed by the sender's copy.
            tokio::join!(from.receive(2 * WINDOW), to.receive(WINDOW));
        }
    });
}

/// Sends those that are counted. Not inlined, so that callgrind knows it by its name.
#[inline(never)]
fn measured(runtime: &Runtime, from: &mut Client, to: &mut Client, requests: &[u8]) {
    exchange(runtime, from, to, requests, MESSAGES);
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _monitoring = Monitoring::install().unwrap();
    let (mut ann, mut bob) = runtime.block_on(async {
        let engine = Engine::builder()
            .policy(benches::unlimited())
            .build()
            .unwrap();
        let server = Server::new(engine, Transport::default());
        let ann = Client::join(&server, "ann").await;
        (ann, Client::join(&server, "bob").await)
    });
    let message = SendMessage::new("bob", "x".repeat(BODY));
    let mut requests = BytesMut::new();
    for _ in 0..WINDOW {
        Inbound::new(message.clone()).encode(&mut requests, Braces::Plain);
    }
    exchange(&runtime, &mut ann, &mut bob, &requests, WARM_UP);
    measured(&runtime, &mut ann, &mut bob, &requests);
    println!("{MESSAGES}");
}
