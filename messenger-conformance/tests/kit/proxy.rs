//! Our server with a fault: a proxy in front of it that spoils what passes.

use crate::server::{Reached, start};
use messenger_core::Policy;
use messenger_proto::{Split, Splitter};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What is wrong with the server. Each default leaves things as they are.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    /// Rules of the engine that are other ones.
    pub(crate) policy: fn(&mut Policy),
    /// What becomes of a client's frame; of its bytes, if it is nothing.
    pub(crate) request: Option<fn(String) -> String>,
    /// What becomes of a frame of the server. Frames of a connection that are kept may be given later.
    pub(crate) frame: fn(&mut Vec<String>, String) -> Vec<u8>,
    /// The server never closes a connection.
    pub(crate) stays: bool,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            policy: |_| (),
            request: None,
            frame: |_, frame| frame.into_bytes(),
            stays: false,
        }
    }
}

/// Starts a server with this fault.
pub(crate) async fn spoilt(fault: Fault) -> SocketAddr {
    let server = start(Reached::ByTcp, fault.policy).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(up(from_client, to_server, fault.request));
            tokio::spawn(down(from_server, to_client, fault));
        }
    });
    address
}

async fn up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    request: Option<fn(String) -> String>,
) {
    let Some(request) = request else {
        let _ = tokio::io::copy(&mut from, &mut to).await;
        return;
    };
    let mut frames = Frames::new();
    while let Some(frame) = frames.next(&mut from).await {
        let _ = to.write_all(request(frame).as_bytes()).await;
    }
}

async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Fault) {
    let mut kept = Vec::new();
    let mut frames = Frames::new();
    while let Some(frame) = frames.next(&mut from).await {
        let _ = to.write_all(&(fault.frame)(&mut kept, frame)).await;
    }
    if fault.stays {
        std::future::pending::<()>().await;
    }
}

/// Finds frames in what comes.
struct Frames {
    splitter: Splitter,
    received: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        Self {
            splitter: Splitter::new(usize::MAX),
            received: Vec::new(),
        }
    }

    /// The next frame; nothing when no more come.
    async fn next(&mut self, from: &mut OwnedReadHalf) -> Option<String> {
        loop {
            match self.splitter.split(&self.received).unwrap() {
                Split::Frame(place) => {
                    let frame = String::from_utf8(self.received[place.clone()].to_vec());
                    self.received.drain(..place.end);
                    return Some(frame.unwrap());
                }
                Split::Partial { skip } => drop(self.received.drain(..skip)),
            }
            if from.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}
