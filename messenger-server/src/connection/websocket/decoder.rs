//! Takes the payloads of messages out of WebSocket frames.

use super::header::{Header, Opcode};
use bytes::{Buf, Bytes, BytesMut};

/// The longest payload of a ping, a pong or a close, in bytes.
const LONGEST_CONTROL: u64 = 125;

/// Takes the payloads of messages out of frames, as they come.
#[derive(Debug, Default)]
pub(crate) struct FrameDecoder {
    /// The rest of the payload that is under way.
    payload: Option<Payload>,
    /// A message has begun, and its last frame has not.
    is_within_message: bool,
}

/// The rest of a frame's payload.
#[derive(Debug)]
struct Payload {
    /// Its length in bytes.
    left: usize,
    /// Begins with what belongs to the next byte.
    mask: [u8; 4],
    /// The message ends with it.
    is_final: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Nothing more, before more bytes come.
    Partial,
    /// The end of a message.
    Message,
    /// To be answered with the same bytes.
    Ping(Bytes),
    /// The client sends nothing more.
    Close,
}

/// What a client has sent is no WebSocket, or none that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("{0}")]
    Protocol(&'static str),
    #[error("messages are text, not binary")]
    Binary,
    #[error("the frame is longer than the limit of {limit} bytes")]
    TooLong { limit: usize },
}

impl FrameDecoder {
    /// Moves payload out of `received` into `message` until there is something to tell. A message may have `limit`
    /// bytes. What is left in `received` when it has told `Partial` is the beginning of a header, or of a ping.
    pub(crate) fn decode(
        &mut self,
        received: &mut BytesMut,
        message: &mut BytesMut,
        limit: usize,
    ) -> Result<Decoded, FrameError> {
        loop {
            if let Some(payload) = &self.payload {
                let taken = payload.left.min(received.len());
                let start = message.len();
                message.extend_from_slice(received.get(..taken).unwrap_or_default());
                received.advance(taken);
                let is_over = self.unmask(message.get_mut(start..).unwrap_or_default());
                if is_over {
                    return Ok(Decoded::Message);
                }
                if self.payload.is_some() {
                    return Ok(Decoded::Partial);
                }
            }
            let Some((header, taken)) = Header::read(received) else {
                return Ok(Decoded::Partial);
            };
            let mask = check(&header)?;
            match header.opcode {
                Some(opcode) if opcode.is_control() => {
                    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                    if received.len() - taken < length {
                        return Ok(Decoded::Partial);
                    }
                    received.advance(taken);
                    let mut payload = BytesMut::from(received.get(..length).unwrap_or_default());
                    received.advance(length);
                    apply(mask, &mut payload);
                    if let Some(told) = control(opcode, payload.freeze())? {
                        return Ok(told);
                    }
                }
                opcode => {
                    self.begin(opcode, &header, mask, message.len(), limit)?;
                    received.advance(taken);
                }
            }
        }
    }

    /// Begins with the payload of a message's frame.
    fn begin(
        &mut self,
        opcode: Option<Opcode>,
        header: &Header,
        mask: [u8; 4],
        held: usize,
        limit: usize,
    ) -> Result<(), FrameError> {
        match opcode {
            Some(Opcode::Continuation) if self.is_within_message => {}
            Some(Opcode::Continuation) => {
                return Err(FrameError::Protocol("there is no message to go on with"));
            }
            Some(_) if self.is_within_message => {
                return Err(FrameError::Protocol("a message within a message"));
            }
            Some(Opcode::Text) => {}
            Some(_) => return Err(FrameError::Binary),
            None => return Err(FrameError::Protocol("there is no such opcode")),
        }
        let left = usize::try_from(header.length).unwrap_or(usize::MAX);
        if held.saturating_add(left) > limit {
            return Err(FrameError::TooLong { limit });
        }
        self.is_within_message = true;
        self.payload = Some(Payload {
            left,
            mask,
            is_final: header.is_final,
        });
        Ok(())
    }

    /// How many bytes of payload come next.
    pub(crate) fn left(&self) -> usize {
        self.payload.as_ref().map_or(0, |payload| payload.left)
    }

    /// Unmasks payload that has come, in its place; there is no more of it than is [left](Self::left). True when the
    /// message ends with it.
    pub(crate) fn unmask(&mut self, bytes: &mut [u8]) -> bool {
        let Some(payload) = &mut self.payload else {
            return false;
        };
        apply(payload.mask, bytes);
        payload.mask.rotate_left(bytes.len() % 4);
        payload.left -= bytes.len();
        if payload.left > 0 {
            return false;
        }
        let is_over = payload.is_final;
        self.payload = None;
        self.is_within_message = !is_over;
        is_over
    }
}

/// What no frame of a client may be; its mask.
fn check(header: &Header) -> Result<[u8; 4], FrameError> {
    if header.is_reserved {
        return Err(FrameError::Protocol("no extension was agreed on"));
    }
    if header.opcode.is_some_and(Opcode::is_control) {
        if !header.is_final {
            return Err(FrameError::Protocol("a control frame in fragments"));
        }
        if header.length > LONGEST_CONTROL {
            return Err(FrameError::Protocol(
                "a control frame of more than 125 bytes",
            ));
        }
    }
    let mask = header.mask;
    mask.ok_or(FrameError::Protocol("a client's frame must be masked"))
}

/// What a control frame asks for, if it asks for something.
fn control(opcode: Opcode, payload: Bytes) -> Result<Option<Decoded>, FrameError> {
    match opcode {
        Opcode::Ping => Ok(Some(Decoded::Ping(payload))),
        Opcode::Close if payload.len() == 1 => Err(FrameError::Protocol("half a close code")),
        Opcode::Close => Ok(Some(Decoded::Close)),
        _ => Ok(None),
    }
}

/// Masks bytes, or unmasks them.
fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    let (chunks, rest) = bytes.as_chunks_mut::<16>();
    let [a, b, c, d] = mask;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
