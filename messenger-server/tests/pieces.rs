//! A large frame in small pieces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{Attachment, Braces, Inbound, Password, SendMessage};
use messenger_core::Policy;
use messenger_server::Transport;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use support::{SOON, TestServer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::timeout;

/// Counts how often something was read.
struct Counted {
    stream: DuplexStream,
    reads: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Were each read by itself, that would be a wake-up and a system call for each.
#[tokio::test]
async fn pieces_are_gathered() {
    const PIECE: usize = 1400;
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let (mut raw, _) = server.log_in("ann").await;
    let pass = Password::from("secret");
    let (mut client, stream) = duplex(256 * 1024);
    let reads = Arc::<AtomicUsize>::default();
    let counted = Counted {
        stream,
        reads: Arc::clone(&reads),
    };
    tokio::spawn(server.server.connection(counted));
    let auth = format!(
        r#"{{"action":"auth","data":{{"login":"ann","pass":"{}"}}}}"#,
        pass.as_str()
    );
    client.write_all(auth.as_bytes()).await.unwrap();
    let message =
        SendMessage::new("ann", "").attach(Attachment::new("image/png", "A".repeat(1000 * PIECE)));
    let mut frame = bytes::BytesMut::new();
    Inbound::new(message).encode(&mut frame, Braces::Plain);
    for piece in frame.chunks(PIECE) {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let event = timeout(SOON, raw.frame()).await.unwrap();
    assert_eq!(event["data"]["attach"]["mime"], "image/png");
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < 250, "{reads} reads of 1,000 pieces");
}
