//! A connection whose client reads as soon as something comes: what the server writes at once comes by itself, however
//! busy the machine is.

use crate::support::SOON;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

/// What was written at once, and when.
pub(crate) struct Write {
    pub(crate) at: Instant,
    pub(crate) bytes: Vec<u8>,
}

/// The client's end.
pub(crate) struct Wire {
    to_server: UnboundedSender<Vec<u8>>,
    writes: UnboundedReceiver<Write>,
    /// What is left of the write that is being read.
    rest: Vec<u8>,
    taken: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) fn send(&self, text: &str) {
        // Whether the server has closed the connection shows when something is read.
        let _ = self.to_server.send(text.as_bytes().to_vec());
    }

    /// The next write; `None` when the server has closed the connection.
    pub(crate) async fn write(&mut self) -> Option<Write> {
        timeout(SOON, self.writes.recv()).await.expect("in time")
    }

    /// What comes next within this time, if anything does.
    pub(crate) async fn write_within(&mut self, time: Duration) -> Option<Write> {
        timeout(time, self.writes.recv()).await.ok().flatten()
    }

    /// Reads so many bytes at the most; nothing when the server has closed the connection.
    pub(crate) async fn read(&mut self, most: usize) -> Vec<u8> {
        if self.rest.is_empty() {
            self.rest = self
                .write()
                .await
                .map(|write| write.bytes)
                .unwrap_or_default();
        }
        let behind = self.rest.split_off(most.min(self.rest.len()));
        std::mem::replace(&mut self.rest, behind)
    }

    /// How many of the texts that were sent the server has begun to read.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.write().await.is_some() {}
    }
}

/// The server's end.
pub(crate) struct ServerEnd {
    from_client: UnboundedReceiver<Vec<u8>>,
    rest: Vec<u8>,
    writes: Option<UnboundedSender<Write>>,
    taken: Arc<AtomicUsize>,
}

/// Both ends of a connection.
pub(crate) fn wire() -> (Wire, ServerEnd) {
    let (to_server, from_client) = unbounded_channel();
    let (writes, from_server) = unbounded_channel();
    let taken = Arc::<AtomicUsize>::default();
    let wire = Wire {
        to_server,
        writes: from_server,
        rest: Vec::new(),
        taken: Arc::clone(&taken),
    };
    let server = ServerEnd {
        from_client,
        rest: Vec::new(),
        writes: Some(writes),
        taken,
    };
    (wire, server)
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = ready!(self.from_client.poll_recv(cx)).unwrap_or_default();
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        let read = buffer.remaining().min(self.rest.len());
        buffer.put_slice(&self.rest[..read]);
        self.rest.drain(..read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Write {
            at: Instant::now(),
            bytes: slices.iter().flat_map(|slice| slice.to_vec()).collect(),
        };
        let length = write.bytes.len();
        let sent = self.writes.as_ref().map(|writes| writes.send(write));
        Poll::Ready(match sent {
            Some(Ok(())) => Ok(length),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes = None;
        Poll::Ready(Ok(()))
    }
}
