//! The splitter finds the same frames whatever the chunks, and no frame over the limit.

use crate::chunks;
use bytes::{Buf, BytesMut};
use messenger_proto::{Split, SplitError, Splitter};

const LIMIT: usize = 1024;

/// Splits the rest of the input whole and in chunks.
pub fn splitter(data: &[u8]) {
    let Some((stream, chunks)) = chunks(data) else {
        return;
    };
    let whole = split([stream].into_iter());
    let chunked = split(chunks);
    assert_eq!(whole, chunked);
    for frame in &whole.0 {
        assert!(frame.len() <= LIMIT);
        assert!(frame.starts_with(b"{") && frame.ends_with(b"}"));
    }
}

/// The frames, and the error that ended the stream.
fn split<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<SplitError>) {
    let mut splitter = Splitter::new(LIMIT);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match splitter.split(&buffer) {
                Ok(Split::Frame(place)) => {
                    frames.push(buffer[place.clone()].to_vec());
                    buffer.advance(place.end);
                }
                Ok(Split::Partial { skip }) => {
                    buffer.advance(skip);
                    assert!(buffer.len() <= LIMIT);
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
