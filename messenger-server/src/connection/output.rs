//! What waits to be written.

use super::websocket::{Close, Opcode, ROOM, put_header, whole_header};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use messenger_core::DeliveryToken;
use messenger_proto::{Escapes, EvMessage, Event, ListResponse, Outbound, Response};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// The most pieces written at once.
const PIECES: usize = 16;

/// For how many tokens room is made at once.
const TOKENS: usize = 16;

/// How much room is taken for what is encoded, in bytes; it is given back when the connection falls
/// idle.
const AT_ONCE: usize = 8 * 1024;

/// What most frames take beside a long text, in bytes.
const SMALL: usize = 512;

/// So much of a list is encoded at once, and the rest of a user, in bytes; a shorter one altogether.
const LIST_CHUNK: usize = 64 * 1024;

/// Longer texts are likely pieces of their own, in bytes.
const LONG: usize = 4 * 1024;

/// Something that waits to be written.
enum Piece {
    Bytes(Bytes),
    /// Encoded when everything before it is written, some at a time.
    List {
        list: ListResponse,
        /// Some of it is encoded already.
        is_begun: bool,
    },
}

/// What waits to be written, and which messages are delivered once it is.
pub(super) struct Output {
    escapes: Escapes,
    /// Pieces shared with other connections, lists, and what was encoded before them.
    pieces: VecDeque<Piece>,
    /// How many lists are among them.
    lists: usize,
    /// About how many bytes of lists are not encoded yet; they do not count as queued.
    list_bytes: usize,
    /// What was encoded last.
    tail: BytesMut,
    /// All bytes that were ever queued.
    queued: u64,
    /// All bytes that were ever written.
    written: u64,
    /// All bytes that were ever flushed.
    flushed: u64,
    /// When so many bytes have been flushed, everything up to the token's message is delivered.
    tokens: VecDeque<(u64, DeliveryToken)>,
    /// Where the frames end that wait, by the bytes queued until then, if frames may have to be written alone.
    ends: Option<VecDeque<u64>>,
    /// Each frame is a text message.
    is_websocket: bool,
}

impl Output {
    /// Nothing yet. `apart` tells whether frames may have to be written [alone](Self::write_frame).
    pub(super) fn new(escapes: Escapes, apart: bool) -> Self {
        Self {
            escapes,
            pieces: VecDeque::new(),
            lists: 0,
            list_bytes: 0,
            tail: BytesMut::new(),
            queued: 0,
            written: 0,
            flushed: 0,
            tokens: VecDeque::new(),
            ends: apart.then(VecDeque::new),
            is_websocket: false,
        }
    }

    /// Each frame becomes a text message.
    pub(super) fn become_websocket(&mut self) {
        self.is_websocket = true;
        self.ends = None;
    }

    /// How many bytes wait; of lists, about.
    pub(super) fn len(&self) -> usize {
        let encoded = usize::try_from(self.queued - self.written).unwrap_or(usize::MAX);
        encoded.saturating_add(self.list_bytes)
    }

    /// True when everything that was ever queued has reached the peer's side of the stream.
    pub(super) fn is_flushed(&self) -> bool {
        self.queued == self.flushed && self.lists == 0
    }

    /// True when everything that was ever queued is written.
    pub(super) fn is_empty(&self) -> bool {
        self.queued == self.written && self.lists == 0
    }

    /// How many bytes were ever written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn push(&mut self, frame: &Outbound) {
        match frame {
            Outbound::Response(response) => {
                self.append(|tail, escapes| response.encode(tail, escapes));
            }
            Outbound::Event(Event::Message(message)) => self.push_message(message),
            other => self.append(|tail, escapes| other.encode(tail, escapes)),
        }
        if let Some(ends) = &mut self.ends {
            ends.push_back(self.queued);
        }
    }

    /// Queues an answer that may be a long list, which is then encoded as the peer takes it.
    pub(super) fn push_list(&mut self, response: Response) {
        if self.ends.is_some() {
            // Where it ends must be known.
            return self.push(&Outbound::Response(response));
        }
        if response.list_len().is_none_or(|bytes| bytes < LIST_CHUNK) {
            return self.append(|tail, escapes| response.encode(tail, escapes));
        }
        match response.into_list() {
            Ok(list) => {
                self.end_tail();
                self.lists += 1;
                self.list_bytes += list.bytes_left();
                let is_begun = false;
                self.pieces.push_back(Piece::List { list, is_begun });
            }
            Err(other) => self.append(|tail, escapes| other.encode(tail, escapes)),
        }
    }

    fn append(&mut self, encode: impl FnOnce(&mut BytesMut, Escapes)) {
        self.append_as(Opcode::Text, encode);
    }

    /// Queues what is one frame of this kind over WebSocket, and as it is over TCP.
    fn append_as(&mut self, opcode: Opcode, encode: impl FnOnce(&mut BytesMut, Escapes)) {
        self.make_room(SMALL);
        let before = self.tail.len();
        if self.is_websocket {
            self.tail.put_bytes(0, ROOM);
        }
        encode(&mut self.tail, self.escapes);
        if self.is_websocket {
            put_header(&mut self.tail, before, opcode, true);
        }
        self.queued += (self.tail.len() - before) as u64;
    }

    /// Asks a client over WebSocket for a sign of life.
    pub(super) fn push_ping(&mut self) {
        self.append_as(Opcode::Ping, |_, _| {});
    }

    /// Answers a ping.
    pub(super) fn push_pong(&mut self, ping: &[u8]) {
        self.append_as(Opcode::Pong, |tail, _| tail.extend_from_slice(ping));
    }

    /// Tells a client over WebSocket why nothing more will come. Over TCP there is no way to.
    pub(super) fn push_close(&mut self, close: Close) {
        if self.is_websocket {
            self.append_as(Opcode::Close, |tail, _| {
                let (code, sentence) = close.told();
                tail.put_u16(code);
                tail.extend_from_slice(sentence.as_bytes());
            });
        }
    }

    /// Queues a message; a large one shares its bytes with whoever else is given it.
    fn push_message(&mut self, message: &EvMessage) {
        if !self.is_websocket {
            return self.push_pieces(message);
        }
        if message.message.size() < LONG {
            return self.append(|tail, escapes| message.encode(tail, escapes));
        }
        // How long it is is known when it is encoded.
        self.end_tail();
        let (place, before) = (self.pieces.len(), self.queued);
        self.pieces.push_back(Piece::Bytes(Bytes::new()));
        self.push_pieces(message);
        let length = usize::try_from(self.queued - before).unwrap_or(usize::MAX);
        let header = whole_header(length);
        self.queued += header.len() as u64;
        if let Some(piece) = self.pieces.get_mut(place) {
            *piece = Piece::Bytes(header);
        }
    }

    fn push_pieces(&mut self, message: &EvMessage) {
        self.make_room(message.message.size().min(LONG) + SMALL);
        let Self { pieces, queued, .. } = self;
        let mut counted = self.tail.len();
        message.encode_pieces(&mut self.tail, self.escapes, |tail, piece| {
            *queued += (tail.len() - counted + piece.len()) as u64;
            if !tail.is_empty() {
                pieces.push_back(Piece::Bytes(tail.split().freeze()));
            }
            counted = 0;
            pieces.push_back(Piece::Bytes(piece.clone()));
        });
        self.queued += (self.tail.len() - counted) as u64;
    }

    /// Takes room for several frames at once: what is encoded need not be moved to make room for more.
    fn make_room(&mut self, expected: usize) {
        if self.tail.capacity() - self.tail.len() < expected {
            let room = BytesMut::with_capacity(expected.max(AT_ONCE));
            let full = std::mem::replace(&mut self.tail, room);
            if !full.is_empty() {
                self.pieces.push_back(Piece::Bytes(full.freeze()));
            }
        }
    }

    /// What was encoded last becomes a piece.
    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.pieces.push_back(Piece::Bytes(tail));
        }
    }

    /// The message of this token will be delivered once all that waits now is flushed.
    pub(super) fn mark(&mut self, token: DeliveryToken) {
        if self.tokens.capacity() == 0 {
            self.tokens.reserve(TOKENS);
        }
        self.tokens.push_back((self.queued, token));
    }

    /// The tokens of what was delivered with what was flushed.
    pub(super) fn take_delivered(&mut self) -> impl Iterator<Item = DeliveryToken> + use<'_> {
        let flushed = self.flushed;
        let next = move || {
            let (queued, _) = self.tokens.front()?;
            (*queued <= flushed).then(|| self.tokens.pop_front())?
        };
        iter::from_fn(next).map(|(_, token)| token)
    }

    /// Writes and flushes everything that waits, or as much as the peer takes.
    pub(super) fn write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.write_until(None, stream, cx)
    }

    /// Writes and flushes the next frame that waits, or as much of it as the peer takes.
    pub(super) fn write_frame(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let next = self.ends.as_ref().and_then(|ends| ends.front());
        self.write_until(next.copied(), stream, cx)
    }

    /// Writes and flushes what was queued until then, or everything.
    fn write_until(
        &mut self,
        end: Option<u64>,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let written = self.write_all(end, stream, cx)?;
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.flushed = self.written;
        if let Some(ends) = &mut self.ends {
            while ends.front().is_some_and(|end| *end <= self.flushed) {
                ends.pop_front();
            }
        }
        written.map(Ok)
    }

    fn write_all(
        &mut self,
        end: Option<u64>,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.encode_list();
            let end = end.unwrap_or(self.queued);
            if self.written >= end {
                return Poll::Ready(Ok(()));
            }
            let most = usize::try_from(end - self.written).unwrap_or(usize::MAX);
            let written = ready!(self.write_some(most, stream, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            self.drop_front(written);
        }
    }

    /// Drops what waits: nobody will take it.
    pub(super) fn clear(&mut self) {
        *self = Self {
            is_websocket: self.is_websocket,
            written: self.queued,
            flushed: self.queued,
            queued: self.queued,
            ..Self::new(self.escapes, self.ends.is_some())
        };
    }

    /// Gives back memory when the connection falls idle.
    pub(super) fn release_buffers(&mut self) {
        if self.is_flushed() {
            self.tail = BytesMut::new();
            self.pieces = VecDeque::new();
            self.tokens = VecDeque::new();
            if let Some(ends) = &mut self.ends {
                *ends = VecDeque::new();
            }
        }
    }

    fn write_some(
        &mut self,
        most: usize,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.pieces.is_empty() {
            return stream.poll_write(cx, self.tail.get(..most).unwrap_or(&self.tail));
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut left = most;
        // What stands behind a list waits for it.
        let before_list = self.pieces.iter().map_while(Piece::bytes);
        let tail = (self.lists == 0).then_some(&*self.tail);
        for (slice, piece) in slices.iter_mut().zip(before_list.chain(tail)) {
            let part = piece.get(..left).unwrap_or(piece);
            left -= part.len();
            *slice = IoSlice::new(part);
        }
        stream.poll_write_vectored(cx, &slices)
    }

    /// Encodes some of the list that everything before is written of.
    fn encode_list(&mut self) {
        let Some(Piece::List { list, is_begun }) = self.pieces.front_mut() else {
            return;
        };
        let mut out = BytesMut::with_capacity(LIST_CHUNK + SMALL);
        if self.is_websocket {
            out.put_bytes(0, ROOM);
        }
        let before = list.bytes_left();
        let is_more = list.encode_some(LIST_CHUNK, &mut out, self.escapes);
        self.list_bytes -= before - list.bytes_left();
        let is_first = !std::mem::replace(is_begun, true);
        if self.is_websocket {
            // How long the whole is nobody knows yet: it comes in fragments.
            let opcode = match is_first {
                true => Opcode::Text,
                false => Opcode::Continuation,
            };
            put_header(&mut out, 0, opcode, !is_more);
        }
        if !is_more {
            self.pieces.pop_front();
            self.lists -= 1;
        }
        // Whatever was queued behind it comes so much later.
        let behind = self.tokens.iter_mut();
        for (queued, _) in behind.filter(|(queued, _)| *queued > self.written) {
            *queued += out.len() as u64;
        }
        self.queued += out.len() as u64;
        self.pieces.push_front(Piece::Bytes(out.freeze()));
    }

    fn drop_front(&mut self, mut written: usize) {
        while let Some(Piece::Bytes(piece)) = self.pieces.front_mut() {
            if written < piece.len() {
                return piece.advance(written);
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(written);
    }
}

impl Piece {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::List { .. } => None,
        }
    }
}
