//! The server's end.

use super::{COPIED_UP_TO, CodecError, DEFAULT_LIMIT, control_characters, next_frame};
use crate::plain::Plain;
use crate::{BadRequest, Escapes, Inbound, Outbound, Splitter};
use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Decodes what clients send, encodes what they are sent.
///
/// A well-formed frame that is no request is an item; only what breaks the stream is an error.
#[derive(Clone, Debug)]
pub struct ServerCodec {
    splitter: Splitter,
    escapes: Escapes,
    /// Control characters in strings are read as they are.
    control_characters: bool,
}

impl Default for ServerCodec {
    /// Frames of up to 16 MiB, braces escaped.
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT, Escapes::default())
    }
}

impl ServerCodec {
    /// A codec for frames of at most `limit` bytes.
    pub fn new(limit: usize, escapes: impl Into<Escapes>) -> Self {
        Self {
            splitter: Splitter::new(limit),
            escapes: escapes.into(),
            control_characters: false,
        }
    }

    /// Reads control characters in strings as they are, where JSON wants them escaped: a deployed client writes line
    /// breaks so.
    pub fn with_control_characters(mut self) -> Self {
        self.control_characters = true;
        self
    }

    /// Changes the longest frame allowed, in bytes, from the next frame on.
    pub fn set_limit(&mut self, limit: usize) {
        self.splitter.set_limit(limit);
    }
}

impl Decoder for ServerCodec {
    type Item = Result<Inbound, BadRequest>;
    type Error = CodecError;

    #[inline]
    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        // Where a frame begins, and only there, so that no byte is looked at this way twice.
        let mut looked_at = 0;
        if !self.splitter.in_frame() && source.first() == Some(&b'{') {
            let most = self.splitter.limit().min(COPIED_UP_TO);
            let beginning = source.get(..most).unwrap_or(source);
            looked_at = beginning.len();
            let mut rest = Plain::bytes(beginning);
            let message = Inbound::read_first(&mut rest);
            if message.is_some() {
                source.advance(looked_at - rest.left());
                return Ok(message.map(Ok));
            }
        }
        let are_read = self.control_characters;
        let escape = |frame: &[u8]| are_read.then(|| control_characters::escape(frame))?;
        let small = |frame: &[u8]| match escape(frame) {
            Some(frame) => Inbound::decode_slice(&frame),
            None if frame.len() <= looked_at => Inbound::parse_slice(frame),
            None => Inbound::decode_slice(frame),
        };
        let large = |frame: Bytes| match escape(&frame) {
            Some(frame) => Inbound::decode(frame),
            None => Inbound::decode(frame),
        };
        next_frame(&mut self.splitter, source, small, large)
    }

    /// A partial frame at the end of the stream is dropped.
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Self::Item>, CodecError> {
        let item = self.decode(source)?;
        if item.is_none() {
            source.clear();
        }
        Ok(item)
    }
}

impl Encoder<Outbound> for ServerCodec {
    type Error = CodecError;

    fn encode(&mut self, item: Outbound, out: &mut BytesMut) -> Result<(), CodecError> {
        item.encode(out, self.escapes);
        Ok(())
    }
}
