//! What a connection receives.

use crate::budget::{Evicted, PROGRESS, Reservation};
use bytes::{BufMut, BytesMut};
use messenger_proto::{BadRequest, CodecError, Inbound, ServerCodec};
use std::cell::Cell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::time::{Sleep, sleep};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

/// What is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// By how much the buffer of a large frame grows.
const GROWTH: usize = 32;

/// The most of a large frame that is read at once, in bytes.
const LARGE_CHUNK: usize = 4 * CHUNK;

/// A frame of which this much is there is read straight to where it belongs.
const LARGE: usize = CHUNK / 2;

/// A large frame of which less than this comes at once is in no hurry, in bytes.
const SMALL_PIECE: usize = CHUNK / 4;

/// How long its pieces are then gathered, so that each does not cost a wake-up and a system call.
const GATHERED_FOR: Duration = Duration::from_millis(1);

thread_local! {
    /// Where small reads go first, so that an idle connection holds no buffer. It is lent to the connection
    /// that is being polled.
    static SCRATCH: Cell<BytesMut> = Cell::default();
}

/// What a connection receives, cut into requests.
pub(super) struct Input {
    codec: ServerCodec,
    limit: usize,
    /// The length in bytes of the frame that was decoded last.
    length: usize,
    /// Received and not yet decoded; never longer than a frame may be, and one byte.
    buffer: BytesMut,
    /// The buffer is the thread's, until the end of this poll.
    is_lent: bool,
    /// What the unfinished frame takes of the budget that all connections have together.
    share: Reservation,
    /// How much of it was there when it had got on last.
    seen: usize,
    /// Until when pieces of a large frame are gathered.
    gathering: Option<Pin<Box<Sleep>>>,
}

/// Why nothing can be read any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The unfinished frame had to give way to others.
    #[error("too many frames are half sent; this one stood still, try later")]
    Evicted,
}

impl From<Evicted> for ReadError {
    fn from(_: Evicted) -> Self {
        Self::Evicted
    }
}

impl Input {
    pub(super) fn new(limit: usize, codec: ServerCodec, share: Reservation) -> Self {
        Self {
            codec,
            limit,
            length: 0,
            buffer: BytesMut::new(),
            is_lent: false,
            share,
            seen: 0,
            gathering: None,
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.codec.set_limit(limit);
    }

    /// The next request, or what ought to have been one, if a whole frame is there.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Result<Inbound, BadRequest>>, CodecError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let before = self.buffer.len();
        let request = self.codec.decode(&mut self.buffer);
        self.length = before - self.buffer.len();
        if self.buffer.is_empty() {
            self.clear();
        } else if let Ok(Some(_)) = request {
            // What follows is another frame, and may be a small one.
            self.share.release();
            self.seen = 0;
            if self.buffer.capacity() > LARGE_CHUNK {
                self.buffer = BytesMut::from(&*self.buffer);
            }
        }
        request
    }

    /// The length in bytes of the frame that was decoded last.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Reads some more. To be called when nothing whole is there.
    pub(super) fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, ReadError>> {
        // One byte over the limit tells that a frame is too long.
        let most = self.limit.saturating_add(1);
        let room = most.saturating_sub(self.buffer.len()).max(1);
        let is_large = self.buffer.len() >= LARGE;
        let room = room.min(if is_large { LARGE_CHUNK } else { CHUNK });
        let buffer = &mut self.buffer;
        if buffer.is_empty() {
            let read = ready!(read_chunk(stream, room, cx, |chunk| mem::swap(
                buffer, chunk
            )))?;
            self.is_lent = read > 0;
            return Poll::Ready(Ok(read));
        }
        self.release_buffers();
        let more = if is_large { room } else { 0 };
        ready!(self.poll_hold(self.buffer.len() + more, cx))?;
        if is_large {
            ready!(self.poll_gathered(cx));
            self.grow(most);
            let mut buffer = (&mut self.buffer).limit(room);
            let read = ready!(poll_read_buf(Pin::new(stream), cx, &mut buffer))?;
            if read < SMALL_PIECE.min(room) {
                self.gathering = Some(Box::pin(sleep(GATHERED_FOR)));
            }
            return Poll::Ready(Ok(read));
        }
        let buffer = &mut self.buffer;
        read_chunk(stream, room, cx, |chunk| buffer.extend_from_slice(chunk))
            .map_err(ReadError::from)
    }

    /// Gives the thread's buffer back, at the end of every poll.
    pub(super) fn release_buffers(&mut self) {
        if self.is_lent {
            let rest = BytesMut::from(&*self.buffer);
            SCRATCH.set(mem::replace(&mut self.buffer, rest));
            self.is_lent = false;
        }
    }

    /// True when nothing received is left.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// True when the unfinished frame had to give way to others.
    pub(super) fn is_evicted(&self) -> bool {
        self.share.is_evicted()
    }

    /// Takes room for so many bytes out of the common budget, or waits for it.
    fn poll_hold(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<(), Evicted>> {
        let has_got_on = self.buffer.len() >= self.seen + PROGRESS;
        let held = ready!(self.share.poll_hold(bytes, has_got_on, cx));
        if has_got_on {
            self.seen = self.buffer.len();
        }
        Poll::Ready(held)
    }

    /// Waits until some more pieces of a large frame may have come.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(gathering) = &mut self.gathering {
            ready!(gathering.as_mut().poll(cx));
            self.gathering = None;
        }
        Poll::Ready(())
    }

    /// What has come of a large frame until now is read at once.
    pub(super) fn hurry(&mut self) {
        self.gathering = None;
    }

    /// Makes room for more of a large frame, so much that little has to be moved on the way to its end;
    /// memory that is not written to is none yet.
    fn grow(&mut self, most: usize) {
        let length = self.buffer.len();
        if length == self.buffer.capacity() {
            let capacity = length.saturating_mul(GROWTH);
            let capacity = capacity.clamp(length + 1, most.max(length + 1));
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
        self.buffer.clear();
        self.release_buffers();
        self.buffer = BytesMut::new();
        self.share.release();
        self.seen = 0;
        self.gathering = None;
    }
}

fn read_chunk(
    stream: &mut (impl AsyncRead + Unpin),
    room: usize,
    cx: &mut Context<'_>,
    take: impl FnOnce(&mut BytesMut),
) -> Poll<io::Result<usize>> {
    let mut chunk = SCRATCH.take();
    chunk.clear();
    chunk.reserve(CHUNK);
    let read = poll_read_buf(Pin::new(stream), cx, &mut (&mut chunk).limit(room));
    if let Poll::Ready(Ok(1..)) = read {
        take(&mut chunk);
    }
    SCRATCH.set(chunk);
    read
}
