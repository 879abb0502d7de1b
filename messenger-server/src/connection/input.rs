//! What a connection receives.

use super::websocket::{Close, Decoded, FrameDecoder, FrameError};
use crate::budget::{Evicted, PROGRESS, Reservation};
use bytes::{BufMut, Bytes, BytesMut};
use messenger_proto::{BadRequest, CodecError, Inbound, ServerCodec, SplitError};
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
    /// It is still what the last whole frame took.
    is_kept: bool,
    /// How much of it was there when it had got on last.
    seen: usize,
    /// Until when pieces of a large frame are gathered.
    gathering: Option<Pin<Box<Sleep>>>,
    /// Over WebSocket `buffer` holds what has come of one message.
    websocket: Option<Box<WebSocketInput>>,
}

/// What is received over WebSocket, before it is a message.
#[derive(Default)]
struct WebSocketInput {
    decoder: FrameDecoder,
    /// Received, and not taken out of its frames yet.
    received: BytesMut,
    /// That is the thread's buffer, until the end of this poll.
    is_lent: bool,
    /// The message that is under way has had its object.
    has_object: bool,
    /// All of the message is there.
    is_whole: bool,
    /// The last ping, to be answered.
    ping: Option<Bytes>,
    /// The client sends nothing more.
    is_closed: bool,
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

/// What was received cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a message is one whole JSON object")]
    NotOneObject,
}

impl InputError {
    /// True for a frame over the limit.
    pub(super) fn is_too_long(&self) -> bool {
        self.close() == Close::TooLong
    }

    pub(super) fn close(&self) -> Close {
        match self {
            Self::Codec(CodecError::Split(SplitError::TooLong { .. }))
            | Self::Frame(FrameError::TooLong { .. }) => Close::TooLong,
            Self::Codec(_) | Self::NotOneObject => Close::Invalid,
            Self::Frame(FrameError::Binary) => Close::Binary,
            Self::Frame(FrameError::Protocol(_)) => Close::Protocol,
        }
    }
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
            is_kept: false,
            seen: 0,
            gathering: None,
            websocket: None,
        }
    }

    /// Reads messages over WebSocket. `received` has come already.
    pub(super) fn become_websocket(&mut self, received: &[u8]) {
        self.websocket = Some(Box::new(WebSocketInput {
            received: received.into(),
            ..WebSocketInput::default()
        }));
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.codec.set_limit(limit);
    }

    /// The next request, or what ought to have been one, if a whole frame is there.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Result<Inbound, BadRequest>>, InputError> {
        if self.websocket.is_some() {
            return self.next_message();
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        Ok(self.decode()?)
    }

    /// Gives back what the last whole frame took of the common budget: it waits for nothing that its client could delay.
    #[inline]
    pub(super) fn release_share(&mut self) {
        if mem::take(&mut self.is_kept) {
            self.share.release();
        }
    }

    /// The next request in the buffer, if a whole frame is there.
    #[inline]
    fn decode(&mut self) -> Result<Option<Result<Inbound, BadRequest>>, CodecError> {
        let before = self.buffer.len();
        let request = self.codec.decode(&mut self.buffer);
        self.length = before - self.buffer.len();
        if let Ok(Some(_)) = request {
            // What follows is another frame, and may be a small one.
            self.is_kept = true;
            self.seen = 0;
            if self.buffer.capacity() > LARGE_CHUNK {
                self.buffer = BytesMut::from(&*self.buffer);
            }
        }
        if self.buffer.is_empty() && self.websocket.is_none() {
            self.drop_buffer();
        }
        request
    }

    /// The same over WebSocket. What has come of a message is looked at at once, as over TCP; at its end there must
    /// be one object in it and no more.
    fn next_message(&mut self) -> Result<Option<Result<Inbound, BadRequest>>, InputError> {
        loop {
            if !self.buffer.is_empty()
                && let Some(request) = self.decode()?
            {
                let websocket = self.websocket.as_mut();
                let is_second = websocket.is_some_and(|it| mem::replace(&mut it.has_object, true));
                return match is_second {
                    true => Err(InputError::NotOneObject),
                    false => Ok(Some(request)),
                };
            }
            let Some(websocket) = &mut self.websocket else {
                return Ok(None);
            };
            if mem::take(&mut websocket.is_whole) {
                if !self.buffer.is_empty() {
                    return Err(InputError::NotOneObject);
                }
                websocket.has_object = false;
                self.share.release();
                self.seen = 0;
            }
            if websocket.is_closed {
                return Ok(None);
            }
            let before = self.buffer.len();
            let WebSocketInput {
                decoder, received, ..
            } = &mut **websocket;
            match decoder.decode(received, &mut self.buffer, self.limit)? {
                Decoded::Message => websocket.is_whole = true,
                Decoded::Partial if self.buffer.len() == before => return Ok(None),
                Decoded::Partial => {}
                Decoded::Ping(ping) => websocket.ping = Some(ping),
                Decoded::Close => websocket.is_closed = true,
            }
        }
    }

    /// What the last ping said, if it was not answered yet.
    pub(super) fn take_ping(&mut self) -> Option<Bytes> {
        self.websocket.as_mut()?.ping.take()
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
        let is_large = self.buffer.len() >= LARGE && self.is_within_payload();
        let room = room.min(if is_large { LARGE_CHUNK } else { CHUNK });
        if self.websocket.as_ref().is_some_and(|it| it.is_closed) {
            return Poll::Ready(Ok(0));
        }
        if !self.buffer.is_empty() {
            self.release_buffers();
            let more = if is_large { room } else { 0 };
            ready!(self.poll_hold(self.buffer.len() + more, cx))?;
        }
        if is_large {
            ready!(self.poll_gathered(cx));
            self.grow(most);
            return self.read_large(room, stream, cx);
        }
        let (buffer, is_lent) = match &mut self.websocket {
            Some(websocket) => {
                websocket.release_buffer();
                (&mut websocket.received, &mut websocket.is_lent)
            }
            None => (&mut self.buffer, &mut self.is_lent),
        };
        let read = ready!(read_chunk(stream, room, cx, |chunk| {
            if buffer.is_empty() {
                mem::swap(buffer, chunk);
                *is_lent = true;
            } else {
                buffer.extend_from_slice(chunk);
            }
        }))?;
        Poll::Ready(Ok(read))
    }

    /// Reads more of a large frame straight to where it belongs.
    fn read_large(
        &mut self,
        room: usize,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, ReadError>> {
        let before = self.buffer.len();
        let payload = self.websocket.as_ref().map(|it| it.decoder.left());
        let room = room.min(payload.unwrap_or(room));
        let mut buffer = (&mut self.buffer).limit(room);
        let read = ready!(poll_read_buf(Pin::new(stream), cx, &mut buffer))?;
        if read < SMALL_PIECE.min(room) {
            self.gathering = Some(Box::pin(sleep(GATHERED_FOR)));
        }
        if let Some(websocket) = &mut self.websocket {
            let payload = self.buffer.get_mut(before..).unwrap_or_default();
            websocket.is_whole |= websocket.decoder.unmask(payload);
        }
        Poll::Ready(Ok(read))
    }

    /// True when what comes next belongs to the frame in the buffer, for sure.
    fn is_within_payload(&self) -> bool {
        let websocket = self.websocket.as_ref();
        websocket.is_none_or(|it| it.received.is_empty() && it.decoder.left() > 0)
    }

    /// Gives the thread's buffer back, at the end of every poll.
    pub(super) fn release_buffers(&mut self) {
        if self.is_lent {
            let rest = BytesMut::from(&*self.buffer);
            SCRATCH.set(mem::replace(&mut self.buffer, rest));
            self.is_lent = false;
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.release_buffer();
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
        }
    }

    /// How much of an unfinished frame is there, in bytes.
    pub(super) fn unfinished(&self) -> usize {
        self.buffer.len()
    }

    /// True when nothing received is left.
    pub(super) fn is_empty(&self) -> bool {
        let websocket = self.websocket.as_ref();
        self.buffer.is_empty() && websocket.is_none_or(|it| it.received.is_empty())
    }

    /// True while nothing is read because others have the room for it.
    pub(super) fn is_waiting_for_room(&self) -> bool {
        self.share.is_waiting()
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
        self.drop_buffer();
        if let Some(websocket) = &mut self.websocket {
            websocket.received = BytesMut::new();
            websocket.is_closed = true;
        }
        self.share.release();
        self.seen = 0;
    }

    fn drop_buffer(&mut self) {
        self.buffer.clear();
        self.release_buffers();
        self.buffer = BytesMut::new();
        self.gathering = None;
    }
}

impl WebSocketInput {
    /// Gives the thread's buffer back.
    fn release_buffer(&mut self) {
        if self.is_lent {
            let rest = BytesMut::from(&*self.received);
            SCRATCH.set(mem::replace(&mut self.received, rest));
            self.is_lent = false;
        }
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
