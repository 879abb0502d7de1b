//! The client's end.

use super::{CodecError, next_frame};
use crate::{Braces, Inbound, Outbound, Splitter};
use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

/// The longest frame a client takes, in bytes. The server bounds what it sends: the longest is a full contact
/// list in which everybody has a picture of the largest size.
const CLIENT_LIMIT: usize = 128 * 1024 * 1024;

/// Decodes what servers send, encodes what they are sent.
#[derive(Clone, Debug)]
pub struct ClientCodec {
    splitter: Splitter,
}

impl Default for ClientCodec {
    /// Frames of up to 128 MiB, which is more than any contact list.
    fn default() -> Self {
        Self::new(CLIENT_LIMIT)
    }
}

impl ClientCodec {
    /// A codec for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            splitter: Splitter::new(limit),
        }
    }
}

impl Decoder for ClientCodec {
    type Item = Outbound;
    type Error = CodecError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Outbound>, CodecError> {
        next_frame(
            &mut self.splitter,
            source,
            Outbound::decode_slice,
            Outbound::decode,
        )
    }

    /// A partial frame at the end of the stream is dropped.
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Outbound>, CodecError> {
        let item = self.decode(source)?;
        if item.is_none() {
            source.clear();
        }
        Ok(item)
    }
}

impl Encoder<Inbound> for ClientCodec {
    type Error = CodecError;

    fn encode(&mut self, item: Inbound, out: &mut BytesMut) -> Result<(), CodecError> {
        item.encode(out, Braces::Plain);
        Ok(())
    }
}
