//! WebSocket (RFC 6455) as the framing of a connection: one JSON object a text message.
//!
//! Here is what a message costs: headers, masks, fragments. Payloads are read as they come, so that what has come of
//! a message is held to the same bounds as a partial frame over TCP. The HTTP upgrade before it is in
//! [`crate::websocket`].

mod close;
mod decoder;
mod header;
mod keepalive;

pub(super) use close::Close;
pub(super) use decoder::{Decoded, FrameDecoder, FrameError};
pub(super) use header::{Opcode, ROOM, put_header, whole_header};
pub(super) use keepalive::{Keepalive, Silence};
