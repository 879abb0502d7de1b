//! What a connection receives.

use bytes::{BufMut, BytesMut};
use messenger_proto::{BadRequest, Braces, CodecError, Inbound, ServerCodec};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

/// What is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// A frame of which this much is there is read straight to where it belongs.
const LARGE: usize = CHUNK / 2;

thread_local! {
    /// Where small reads go first, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// What a connection receives, cut into requests.
pub(super) struct Input {
    codec: ServerCodec,
    limit: usize,
    /// Received and not yet decoded; never longer than a frame may be, and one byte.
    buffer: BytesMut,
}

/// A frame that was received.
pub(super) struct Frame {
    /// A request, or what ought to have been one.
    pub(super) request: Result<Inbound, BadRequest>,
    /// Its length in bytes.
    pub(super) length: usize,
}

impl Input {
    pub(super) fn new(limit: usize, braces: Braces) -> Self {
        Self {
            codec: ServerCodec::new(limit, braces),
            limit,
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.codec.set_limit(limit);
    }

    /// The next frame, if a whole one is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, CodecError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let before = self.buffer.len();
        let request = self.codec.decode(&mut self.buffer)?;
        let length = before - self.buffer.len();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(request.map(|request| Frame { request, length }))
    }

    /// Reads some more. To be called when nothing whole is there.
    pub(super) fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // One byte over the limit tells that a frame is too long.
        let most = self.limit.saturating_add(1);
        let room = most.saturating_sub(self.buffer.len()).max(1);
        if self.buffer.len() >= LARGE {
            self.grow(most);
            let mut buffer = (&mut self.buffer).limit(room);
            return poll_read_buf(Pin::new(stream), cx, &mut buffer);
        }
        let buffer = &mut self.buffer;
        read_chunk(stream, room, cx, |chunk| buffer.extend_from_slice(chunk))
    }

    /// Makes room for more of a large frame: twice as much, and never more than a frame may need.
    fn grow(&mut self, most: usize) {
        let length = self.buffer.len();
        if length == self.buffer.capacity() {
            let capacity = (2 * length).clamp(length + 1, most.max(length + 1));
            let mut grown = BytesMut::with_capacity(capacity);
            grown.extend_from_slice(&self.buffer);
            self.buffer = grown;
        }
    }

    /// Reads something and drops it.
    pub(super) fn skip(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        read_chunk(stream, CHUNK, cx, |_| {})
    }

    /// Drops what was received.
    pub(super) fn clear(&mut self) {
        self.buffer = BytesMut::new();
    }
}

fn read_chunk(
    stream: &mut (impl AsyncRead + Unpin),
    room: usize,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let room = room.min(scratch.len());
        let mut chunk = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        Pin::new(stream).poll_read(cx, &mut chunk).map_ok(|()| {
            take(chunk.filled());
            chunk.filled().len()
        })
    })
}
