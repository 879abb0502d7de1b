//! What nodes send each other: notices, gathered and numbered.
//!
//! A version, a kind, the node, the frame's number, and the rest; numbers are little-endian.

use bytes::Bytes;

const VERSION: u8 = 1;
const NOTICES: u8 = 1;
const PIECE: u8 = 2;
const LAST_PIECE: u8 = 3;
const BYE: u8 = 4;

/// The most bytes of notices that are gathered in a frame, and of a piece of a larger notice. NATS carries 1 MiB,
/// unless told otherwise; what waits anywhere is bounded in frames.
pub(crate) const FRAME: usize = 64 * 1024;

/// What a node has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) node: u64,
    pub(crate) number: u64,
    pub(crate) body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// Whole notices, or none: the node is there.
    Notices(Vec<&'a [u8]>),
    /// A part of a notice; the rest is in the next frames, unless it is the last.
    Piece { bytes: &'a [u8], is_last: bool },
    /// The node goes.
    Bye,
}

impl<'a> Frame<'a> {
    /// `None` when it is none, or of a later version.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let ([version, kind], rest) = bytes.split_first_chunk()?;
        let (node, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let body = match *kind {
            NOTICES => Body::Notices(split(rest)?),
            PIECE | LAST_PIECE => Body::Piece {
                bytes: rest,
                is_last: *kind == LAST_PIECE,
            },
            BYE => Body::Bye,
            _ => return None,
        };
        (*version == VERSION).then_some(Self {
            node: u64::from_le_bytes(*node),
            number: u64::from_le_bytes(*number),
            body,
        })
    }
}

/// Notices behind their lengths.
fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut notices = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (notice, rest) = rest.split_at_checked(length)?;
        notices.push(notice);
        bytes = rest;
    }
    Some(notices)
}

/// Numbers a node's frames.
#[derive(Debug)]
pub(crate) struct Numbered {
    node: u64,
    next: u64,
}

impl Numbered {
    pub(crate) fn new(node: u64) -> Self {
        Self { node, next: 0 }
    }

    /// Something was not sent: whoever hears the next frame is to see that.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// A frame of these notices; of none it says that the node is there. One that is too large for a frame comes
    /// alone, and makes several.
    pub(crate) fn notices(&mut self, notices: &[Vec<u8>]) -> Vec<Bytes> {
        if let [large] = notices
            && large.len() > FRAME
        {
            let pieces = large.chunks(FRAME);
            let last = pieces.len().saturating_sub(1);
            return pieces
                .enumerate()
                .map(|(n, piece)| self.frame(if n == last { LAST_PIECE } else { PIECE }, [piece]))
                .collect();
        }
        let lengths: Vec<_> = notices.iter().map(|notice| length(notice)).collect();
        let parts = lengths.iter().zip(notices);
        vec![self.frame(
            NOTICES,
            parts.flat_map(|(length, notice)| [&length[..], notice]),
        )]
    }

    pub(crate) fn bye(&mut self) -> Bytes {
        self.frame(BYE, [])
    }

    fn frame<'a>(&mut self, kind: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
        let mut frame = vec![VERSION, kind];
        frame.extend_from_slice(&self.node.to_le_bytes());
        frame.extend_from_slice(&self.next.to_le_bytes());
        for part in parts {
            frame.extend_from_slice(part);
        }
        self.next += 1;
        frame.into()
    }
}

/// The length of a notice that is gathered, which is far below what 32 bits hold.
fn length(notice: &[u8]) -> [u8; 4] {
    u32::try_from(notice.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let mut numbered = Numbered::new(7);
        let notices = [b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let frames = numbered.notices(&notices);
        let body = Body::Notices(notices.iter().map(Vec::as_slice).collect());
        let expected = Frame {
            node: 7,
            number: 0,
            body,
        };
        assert_eq!(Frame::decode(&frames[0]), Some(expected));
        numbered.skip();
        let body = Body::Notices(Vec::new());
        let expected = Frame {
            node: 7,
            number: 2,
            body,
        };
        assert_eq!(Frame::decode(&numbered.notices(&[])[0]), Some(expected));
        let expected = Frame {
            node: 7,
            number: 3,
            body: Body::Bye,
        };
        assert_eq!(Frame::decode(&numbered.bye()), Some(expected));
    }

    #[test]
    fn a_large_notice_comes_in_pieces() {
        let large = vec![1; 2 * FRAME + 1];
        let frames = Numbered::new(7).notices(std::slice::from_ref(&large));
        let mut together = Vec::new();
        let mut ends = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let frame = Frame::decode(frame).unwrap();
            assert_eq!(frame.number, number as u64);
            match frame.body {
                Body::Piece { bytes, is_last } => {
                    together.extend_from_slice(bytes);
                    ends.push(is_last);
                }
                other => panic!("no piece: {other:?}"),
            }
        }
        assert_eq!(together, large);
        assert_eq!(ends, [false, false, true]);
    }

    #[test]
    fn what_is_torn_or_of_a_later_version_is_none() {
        let frame = &Numbered::new(7).notices(&[b"one".to_vec()])[0];
        for end in 0..frame.len() {
            // Without its notices it says that the node is there.
            assert_eq!(Frame::decode(&frame[..end]).is_some(), end == 18, "{end}");
        }
        let mut later = frame.to_vec();
        later[0] = 2;
        assert_eq!(Frame::decode(&later), None);
    }
}
