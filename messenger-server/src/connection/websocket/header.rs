//! The headers of WebSocket frames.

use bytes::{BufMut, Bytes, BytesMut};

/// The room that is left for a header before it is known how long its payload is, in bytes: what most need.
pub(crate) const ROOM: usize = 4;

/// The longest payload whose length stands in a header's second byte.
const TINY: usize = 125;

/// In the first byte: the last frame of its message.
const FIN: u8 = 0x80;

/// In the first byte: reserved for extensions, and we have none.
const RESERVED: u8 = 0x70;

/// In the second byte: the payload is masked, and four bytes of mask follow.
const MASKED: u8 = 0x80;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// It goes on with a message.
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn code(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn of(code: u8) -> Option<Self> {
        let all = [
            Self::Continuation,
            Self::Text,
            Self::Binary,
            Self::Close,
            Self::Ping,
            Self::Pong,
        ];
        all.into_iter().find(|opcode| opcode.code() == code)
    }

    /// True for what is about the connection, and may stand between the frames of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a client's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `None` when there is no such thing.
    pub(super) opcode: Option<Opcode>,
    pub(super) is_final: bool,
    pub(super) is_reserved: bool,
    pub(super) mask: Option<[u8; 4]>,
    /// The payload's, in bytes.
    pub(super) length: u64,
}

impl Header {
    /// The header at the beginning of these bytes, and how many it takes; `None` while it has not come whole.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
        let (length, rest) = match second & !MASKED {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest)
            }
            length => (u64::from(length), rest),
        };
        let (mask, rest) = match second & MASKED {
            0 => (None, rest),
            _ => {
                let (mask, rest) = rest.split_first_chunk::<4>()?;
                (Some(*mask), rest)
            }
        };
        let header = Self {
            opcode: Opcode::of(first & !(FIN | RESERVED)),
            is_final: first & FIN != 0,
            is_reserved: first & RESERVED != 0,
            mask,
            length,
        };
        Some((header, bytes.len() - rest.len()))
    }
}

/// Writes the header of what stands in `frame` behind [`ROOM`] bytes from `start` on, into that room; the payload is
/// moved if the header needs more or less. A server's frames are not masked.
pub(crate) fn put_header(frame: &mut BytesMut, start: usize, opcode: Opcode, is_final: bool) {
    let payload = start + ROOM;
    let length = frame.len().saturating_sub(payload);
    let (header, taken) = encode(opcode, is_final, length);
    if taken > ROOM {
        frame.put_bytes(0, taken - ROOM);
    }
    if taken != ROOM {
        frame.copy_within(payload..payload + length, start + taken);
        frame.truncate(start + taken + length);
    }
    let room = frame.iter_mut().skip(start);
    for (place, byte) in room.zip(header.into_iter().take(taken)) {
        *place = byte;
    }
}

/// The header of a text message of one frame with so many bytes.
pub(crate) fn whole_header(length: usize) -> Bytes {
    let (header, taken) = encode(Opcode::Text, true, length);
    Bytes::copy_from_slice(header.get(..taken).unwrap_or_default())
}

/// A header, and how many of these bytes it has.
fn encode(opcode: Opcode, is_final: bool, length: usize) -> ([u8; 10], usize) {
    let first = opcode.code() | if is_final { FIN } else { 0 };
    if let Ok(short) = u16::try_from(length) {
        let [high, low] = short.to_be_bytes();
        return match length {
            0..=TINY => ([first, low, 0, 0, 0, 0, 0, 0, 0, 0], 2),
            _ => ([first, 126, high, low, 0, 0, 0, 0, 0, 0], 4),
        };
    }
    let [a, b, c, d, e, f, g, h] = (length as u64).to_be_bytes();
    ([first, 127, a, b, c, d, e, f, g, h], 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_back_and_is_as_short_as_can_be() {
        for (length, taken) in [
            (0, 2),
            (125, 2),
            (126, 4),
            (65_535, 4),
            (65_536, 10),
            (70_000, 10),
        ] {
            let mut frame = BytesMut::from("before".as_bytes());
            frame.put_bytes(0, ROOM);
            frame.put_bytes(b'x', length);
            put_header(&mut frame, 6, Opcode::Text, true);
            assert_eq!(&frame[..6], b"before");
            let (header, read) = Header::read(&frame[6..]).unwrap();
            assert_eq!(
                (header.opcode, header.length, read),
                (Some(Opcode::Text), length as u64, taken)
            );
            assert!(header.is_final && !header.is_reserved && header.mask.is_none());
            assert_eq!(frame.len(), 6 + taken + length);
            assert!(frame[6 + taken..].iter().all(|byte| *byte == b'x'));
            assert_eq!(whole_header(length), frame[6..6 + taken]);
            for cut in 0..taken {
                assert_eq!(Header::read(&frame[6..6 + cut]), None);
            }
        }
    }
}
