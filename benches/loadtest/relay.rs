//! The least that a server can do: it hands frames on as they are, and answers.

use crate::Failed;
use crate::wire::{ANSWER, HELLO, take_relayed};
use bytes::{Buf, BufMut, BytesMut};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// What stands behind [`ANSWER`]: as many bytes as a server's answer has.
const ANSWERED: &[u8] =
    br#""data":{"status":0,"error":"","id":"0123456789abcdef-12345","time":1800000000}}"#;

/// What waits to be written to a connection.
#[derive(Debug, Default)]
struct Out {
    waiting: Mutex<BytesMut>,
    more: Notify,
}

type Users = Arc<RwLock<HashMap<u32, Arc<Out>>>>;

pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Failed> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("listening address={}", listener.local_addr()?);
    let users = Users::default();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, Arc::clone(&users)));
    }
}

async fn connection(stream: TcpStream, users: Users) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (input, output) = stream.into_split();
    let own = Arc::new(Out::default());
    let writing = tokio::spawn(write(output, Arc::clone(&own)));
    // A connection that ends is of no interest.
    let _ended = read(input, &own, &users).await;
    writing.abort();
}

async fn read(mut input: OwnedReadHalf, own: &Arc<Out>, users: &Users) -> std::io::Result<()> {
    let mut received = BytesMut::new();
    let mut known: HashMap<u32, Arc<Out>> = HashMap::new();
    let mut told = Vec::new();
    loop {
        received.reserve(CHUNK);
        if input.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        while let Some((destination, mut frame)) = take_relayed(&mut received) {
            if destination == HELLO {
                users.write().insert(frame.get_u32(), Arc::clone(own));
                put(&mut own.waiting.lock(), &[b"{}"]);
                continue;
            }
            if !known.contains_key(&destination)
                && let Some(out) = users.read().get(&destination)
            {
                known.insert(destination, Arc::clone(out));
            }
            let Some(out) = known.get(&destination) else {
                continue;
            };
            put(&mut out.waiting.lock(), &[&frame]);
            if !told.iter().any(|told| Arc::ptr_eq(told, out)) {
                told.push(Arc::clone(out));
            }
            put(&mut own.waiting.lock(), &[ANSWER, ANSWERED]);
        }
        own.more.notify_one();
        for out in told.drain(..) {
            out.more.notify_one();
        }
    }
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_u32(0);
    for part in parts {
        out.put_slice(part);
    }
}

async fn write(mut output: OwnedWriteHalf, own: Arc<Out>) -> std::io::Result<()> {
    loop {
        own.more.notified().await;
        loop {
            let mut batch = std::mem::take(&mut *own.waiting.lock());
            if batch.is_empty() {
                break;
            }
            output.write_all(&batch).await?;
            batch.clear();
            let mut waiting = own.waiting.lock();
            if waiting.is_empty() {
                *waiting = batch;
                break;
            }
        }
    }
}
