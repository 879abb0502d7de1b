//! The codecs: frames from bytes and back, for either end of a connection.

mod client;
mod control_characters;
mod server;

pub use client::ClientCodec;
pub use server::ServerCodec;

use crate::{OutboundError, ParseError, Split, SplitError, Splitter};
use bytes::{Buf, Bytes, BytesMut};

/// The longest frame a codec takes unless told otherwise, in bytes.
const DEFAULT_LIMIT: usize = 16 * 1024 * 1024;

/// Of frames up to this size, in bytes, the text is copied: what is kept of a frame then does not keep
/// the buffer alive, with all its neighbours.
const COPIED_UP_TO: usize = 64 * 1024;

/// A larger frame takes the buffer with it, unless the buffer is this many times larger.
const LARGER_BUFFER: usize = 4;

/// The stream cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes cannot be split into frames.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A client's frame is not JSON.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A server's frame is not what a server sends.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The transport failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
}

/// Takes the first whole frame out of `source`, and reads it: a small one where it lies.
fn next_frame<T, E: Into<CodecError>>(
    splitter: &mut Splitter,
    source: &mut BytesMut,
    small: impl FnOnce(&[u8]) -> Result<T, E>,
    large: impl FnOnce(Bytes) -> Result<T, E>,
) -> Result<Option<T>, CodecError> {
    match splitter.split(source)? {
        Split::Partial { skip } => {
            source.advance(skip);
            Ok(None)
        }
        Split::Frame(place) => {
            source.advance(place.start);
            let length = place.len();
            if length > COPIED_UP_TO && source.capacity() <= LARGER_BUFFER * length {
                let frame = source.split_to(length).freeze();
                // What follows must not keep this frame alive, nor the frame what follows.
                *source = BytesMut::from(&**source);
                return large(frame).map(Some).map_err(Into::into);
            }
            let read = small(source.get(..length).unwrap_or_default());
            source.advance(length);
            read.map(Some).map_err(Into::into)
        }
    }
}
