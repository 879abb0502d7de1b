//! What a client sends over WebSocket is read as another library reads it, and answered as over TCP.

use crate::chunks;
use crate::engine::Accounts;
use messenger_core::testing::{ManualClock, SeededEntropy};
use messenger_core::{Engine, Policy};
use messenger_proto::{Split, Splitter};
use messenger_server::{Server, Transport};
use serde_json::{Deserializer, Value};
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::join;
use tokio::task::yield_now;
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

/// What is under way in each direction, in bytes.
const UNDER_WAY: usize = 64 * 1024;

/// Sends the rest of the input to a server, in chunks.
pub fn websocket(data: &[u8]) {
    let Some((stream, chunks)) = chunks(data) else {
        return;
    };
    let (messages, is_text) = read(Role::Server, stream);
    let objects = messages.iter().map_while(|message| object(message));
    let objects = objects.collect::<Vec<_>>().concat();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (over_websocket, over_tcp) = runtime.block_on(async {
        let over_websocket = talk(|server, stream| server.websocket(stream, None), chunks);
        let objects = [&*objects].into_iter();
        let over_tcp = talk(|server, stream| server.connection(stream), objects);
        (over_websocket.await, over_tcp.await)
    });
    let (messages, _) = read(Role::Client, &over_websocket);
    let answers = replies(&messages.concat());
    let expected = replies(&over_tcp);
    assert!(answers.starts_with(&expected), "{answers:?} {expected:?}");
    // An object is answered as soon as it is there, though what it is in may turn out to be no message; and the client is
    // told what has ended the stream. (What is no UTF-8 ends it for the other library alone.)
    if is_text {
        assert!(
            answers.len() <= expected.len() + 2,
            "{answers:?} {expected:?}"
        );
    }
}

/// The messages that another library reads, until the stream ends or breaks; false when it broke because one was no text.
fn read(role: Role, stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut socket = WebSocket::from_raw_socket(Sent(stream), role, None);
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(text.as_bytes().to_vec()),
            Ok(Message::Binary(_)) => return (messages, true),
            Ok(_) => {}
            Err(error) => return (messages, !matches!(error, Error::Utf8(_))),
        }
    }
}

/// What the other side has sent. What is written comes to nobody.
struct Sent<'a>(&'a [u8]);

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The object that a message is, or nothing of an empty one; `None` when it is something else.
fn object(message: &[u8]) -> Option<&[u8]> {
    let split = |bytes: &[u8]| Splitter::new(usize::MAX).split(bytes);
    // What may stand between objects.
    let is_blank =
        |bytes: &[u8]| matches!(split(bytes), Ok(Split::Partial { skip }) if skip == bytes.len());
    if is_blank(message) {
        return Some(&[]);
    }
    match split(message) {
        Ok(Split::Frame(place)) if is_blank(&message[place.end..]) => Some(&message[place]),
        _ => None,
    }
}

/// All that a server says to a client that sends these chunks, and nothing more.
async fn talk<'a, F: Future<Output = ()>>(
    serve: impl FnOnce(&Server, DuplexStream) -> F,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut policy = Policy::default();
    policy.rates = None;
    let engine = Engine::builder()
        .policy(policy)
        .authenticator(Arc::new(Accounts::default()))
        .clock(Arc::new(ManualClock::default()))
        .entropy(Arc::new(SeededEntropy::new(7)))
        .manual_maintenance()
        .build()
        .unwrap();
    let server = Server::new(engine, Transport::default());
    let (client, stream) = duplex(UNDER_WAY);
    let (mut input, mut output) = split(client);
    let speaking = async {
        for chunk in chunks {
            if output.write_all(chunk).await.is_err() {
                return;
            }
            yield_now().await;
        }
        let _ = output.shutdown().await;
    };
    let mut heard = Vec::new();
    let (_, (), _) = join!(
        serve(&server, stream),
        speaking,
        input.read_to_end(&mut heard)
    );
    heard
}

/// The answers among what a server has said; events come when they come.
fn replies(said: &[u8]) -> Vec<Value> {
    let said = Deserializer::from_slice(said).into_iter::<Value>();
    let said = said.map(|object| object.expect("an object"));
    said.filter(|object| object["action"] != "ev_message")
        .collect()
}
