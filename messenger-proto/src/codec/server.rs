//! The server's end.

use super::{COPIED_UP_TO, CodecError, DEFAULT_LIMIT, next_frame};
use crate::plain::Plain;
use crate::{BadRequest, Braces, Inbound, Outbound, Splitter};
use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Decodes what clients send, encodes what they are sent.
///
/// A well-formed frame that is no request is an item; only what breaks the stream is an error.
#[derive(Clone, Debug)]
pub struct ServerCodec {
    splitter: Splitter,
    braces: Braces,
}

impl Default for ServerCodec {
    /// Frames of up to 16 MiB, braces escaped.
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT, Braces::default())
    }
}

impl ServerCodec {
    /// A codec for frames of at most `limit` bytes.
    pub fn new(limit: usize, braces: Braces) -> Self {
        Self {
            splitter: Splitter::new(limit),
            braces,
        }
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
        let small = |frame: &[u8]| {
            if frame.len() <= looked_at {
                return Inbound::parse_slice(frame);
            }
            Inbound::decode_slice(frame)
        };
        next_frame(&mut self.splitter, source, small, Inbound::decode)
    }

    /// A half-sent frame at the end of the stream is dropped.
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
        item.encode(out, self.braces);
        Ok(())
    }
}
