//! What every input is held to. The fuzz targets call these with inputs that they invent, and
//! `tests/corpus.rs` with those that were kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a check fails by panicking

mod codecs;
mod engine;
mod splitter;
mod websocket;

pub use codecs::{client_codec, server_codec};
pub use engine::engine;
pub use splitter::splitter;
pub use websocket::websocket;

/// Cuts the input: its first byte tells into chunks of what size the rest comes.
fn chunks(data: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let (size, stream) = data.split_first()?;
    let size = usize::from(*size) + 1;
    Some((stream, stream.chunks(size)))
}
