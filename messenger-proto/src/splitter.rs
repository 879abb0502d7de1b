//! Where one frame ends and the next begins.
//!
//! The wire has no delimiter: JSON objects follow each other, whitespace between them allowed. The
//! splitter finds an object's closing brace without parsing it. It does no I/O and keeps no bytes:
//! it only remembers how far it has looked, so each byte is looked at once, whatever the chunks.

use crate::swar::{equal, first};
use memchr::memchr2;
use std::ops::Range;

/// How deep objects and lists may nest, the frame's own braces included.
pub const MAX_DEPTH: u32 = 128;

/// What the bytes seen so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Split {
    /// A whole frame lies at this place. Drop everything up to its end before the next call.
    Frame(Range<usize>),
    /// More bytes are needed. The first `skip` bytes are whitespace: drop them before the next call.
    Partial {
        /// How many leading bytes to drop.
        skip: usize,
    },
}

/// Why the stream cannot be split any further. It cannot be resynchronised either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A byte other than whitespace or `{` between frames.
    #[error("a frame must begin with an opening brace")]
    StrayByte,
    /// Inside a frame, a byte that JSON has no place for, or a bracket closed by the wrong one.
    #[error("the frame is not JSON")]
    NotJson,
    /// Nesting deeper than [`MAX_DEPTH`].
    #[error("the frame nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A frame longer than the limit, whether or not its end was seen.
    #[error("the frame is longer than the limit of {limit} bytes")]
    TooLong {
        /// The limit in force, in bytes.
        limit: usize,
    },
}

/// Finds frame boundaries in a growing buffer.
///
/// ```
/// use messenger_proto::{Split, Splitter};
///
/// let mut splitter = Splitter::new(1024);
/// assert_eq!(splitter.split(br#"  {"a":"}"#), Ok(Split::Partial { skip: 2 }));
/// assert_eq!(splitter.split(br#"{"a":"}"}{"#), Ok(Split::Frame(0..9)));
/// assert_eq!(splitter.split(b"{"), Ok(Split::Partial { skip: 0 }));
/// ```
#[derive(Clone, Debug)]
pub struct Splitter {
    limit: usize,
    /// How many bytes of the unfinished frame have been looked at.
    scanned: usize,
    place: Place,
    depth: u32,
    /// One bit a level, the innermost lowest: 1 for an object, 0 for a list.
    kinds: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Structure,
    String,
    /// Behind a backslash in a string.
    Escape,
}

impl Splitter {
    /// A splitter for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            scanned: 0,
            place: Place::Structure,
            depth: 0,
            kinds: 0,
        }
    }

    /// The longest frame allowed, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Changes the longest frame allowed, from the next call on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// True when the last call ended inside a frame.
    pub fn in_frame(&self) -> bool {
        self.depth > 0
    }

    /// Looks for the end of the first frame in `buffer`.
    ///
    /// `buffer` holds what the previous call was given, less what it said to drop, and whatever has
    /// arrived since.
    ///
    /// # Errors
    /// See [`SplitError`]; after one the splitter is of no further use.
    pub fn split(&mut self, buffer: &[u8]) -> Result<Split, SplitError> {
        let start = if self.in_frame() {
            0
        } else {
            match buffer.iter().position(|byte| !is_whitespace(*byte)) {
                None => {
                    return Ok(Split::Partial { skip: buffer.len() });
                }
                Some(start) => start,
            }
        };
        let frame = buffer.get(start..).unwrap_or_default();
        if !self.in_frame() && frame.first() != Some(&b'{') {
            return Err(SplitError::StrayByte);
        }
        // No byte beyond the limit is looked at.
        let window = frame.get(..self.limit).unwrap_or(frame);
        match self.scan(window)? {
            Some(length) => Ok(Split::Frame(start..start + length)),
            None if frame.len() > self.limit => Err(SplitError::TooLong { limit: self.limit }),
            None => Ok(Split::Partial { skip: start }),
        }
    }

    /// Scans on from where the last scan stopped; the frame's length when its end is found.
    fn scan(&mut self, frame: &[u8]) -> Result<Option<usize>, SplitError> {
        let mut place = self.place;
        let mut rest = frame.get(self.scanned..).unwrap_or_default();
        loop {
            // Inside a string most bytes are passed over unseen; outside it there are few between two.
            let passed = match place {
                Place::String => quote_or_backslash(rest),
                Place::Structure | Place::Escape => Some(0),
            };
            let next = passed.and_then(|passed| rest.get(passed..));
            let Some((byte, behind)) = next.and_then(<[u8]>::split_first) else {
                self.place = place;
                self.scanned = frame.len();
                return Ok(None);
            };
            rest = behind;
            place = match (place, KINDS.get(usize::from(*byte))) {
                (Place::Escape, _) | (Place::Structure, Some(Kind::Quote)) => Place::String,
                (Place::String, Some(Kind::Quote)) | (Place::Structure, Some(Kind::Plain)) => {
                    Place::Structure
                }
                (Place::String, _) => Place::Escape,
                (Place::Structure, Some(Kind::Open)) => {
                    self.open(*byte == b'{')?;
                    Place::Structure
                }
                (Place::Structure, Some(Kind::Close)) => {
                    self.close(*byte == b'}')?;
                    if self.depth == 0 {
                        self.place = Place::Structure;
                        self.scanned = 0;
                        return Ok(Some(frame.len() - rest.len()));
                    }
                    Place::Structure
                }
                (Place::Structure, _) => return Err(SplitError::NotJson),
            };
        }
    }

    fn open(&mut self, object: bool) -> Result<(), SplitError> {
        if self.depth == MAX_DEPTH {
            return Err(SplitError::TooDeep);
        }
        self.depth += 1;
        self.kinds = self.kinds << 1 | u128::from(object);
        Ok(())
    }

    fn close(&mut self, object: bool) -> Result<(), SplitError> {
        if self.kinds & 1 != u128::from(object) {
            return Err(SplitError::NotJson);
        }
        self.depth -= 1;
        self.kinds >>= 1;
        Ok(())
    }
}

/// Where the first quote or backslash is.
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    /// Most strings are shorter, and over before a call that looks at more bytes at once has begun.
    const SHORT: usize = 32;
    let (short, long) = text.split_at(text.len().min(SHORT));
    first(short, |word| equal(word, b'"') | equal(word, b'\\'))
        .or_else(|| memchr2(b'"', b'\\', long).map(|index| SHORT + index))
}

fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What a byte outside a string is.
#[derive(Clone, Copy)]
enum Kind {
    /// Whitespace, a separator, part of a number, or a letter of `true`, `false` or `null`.
    Plain,
    Quote,
    Open,
    Close,
    /// JSON has no place for it.
    None,
}

static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::None; 256];
    let mut all: &[(&[u8], Kind)] = &[
        (b" \t\r\n,:0123456789+-.Eaeflnrstu", Kind::Plain),
        (b"\"", Kind::Quote),
        (b"{[", Kind::Open),
        (b"}]", Kind::Close),
    ];
    while let [(bytes, kind), others @ ..] = all {
        let mut bytes = *bytes;
        while let [byte, rest @ ..] = bytes {
            #[allow(clippy::indexing_slicing)] // there are no more bytes
            {
                kinds[*byte as usize] = *kind;
            }
            bytes = rest;
        }
        all = others;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Split, SplitError> {
        Splitter::new(1 << 20).split(text.as_bytes())
    }

    #[test]
    fn braces_in_strings_do_not_count() {
        let text = r#"{"a":"}{\"}\\"}{"#;
        assert_eq!(whole(text), Ok(Split::Frame(0..text.len() - 1)));
    }

    #[test]
    fn depth_is_counted_with_lists_and_bounded() {
        let nested = |levels: usize| {
            let lists = levels - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(lists), "]".repeat(lists))
        };
        assert!(matches!(whole(&nested(128)), Ok(Split::Frame(_))));
        assert_eq!(whole(&nested(129)), Err(SplitError::TooDeep));
    }

    #[test]
    fn what_cannot_be_json_is_refused_at_once() {
        assert_eq!(whole("GET / HTTP/1.1"), Err(SplitError::StrayByte));
        assert_eq!(whole("{}  x"), Ok(Split::Frame(0..2)));
        assert_eq!(whole("{hello"), Err(SplitError::NotJson));
        assert_eq!(whole("{\"a\":[}"), Err(SplitError::NotJson));
        assert_eq!(whole("{\"a\":\u{e9}"), Err(SplitError::NotJson));
    }

    #[test]
    fn limit_is_inclusive_and_holds_before_the_end_is_seen() {
        let mut splitter = Splitter::new(9);
        assert_eq!(splitter.split(b"{\"a\":\"b\"}"), Ok(Split::Frame(0..9)));
        let too_long = Err(SplitError::TooLong { limit: 9 });
        assert_eq!(splitter.split(b"{\"a\":\"bc\"}"), too_long);
        let mut splitter = Splitter::new(9);
        assert_eq!(
            splitter.split(b"{\"a\":\"bc"),
            Ok(Split::Partial { skip: 0 })
        );
        assert_eq!(splitter.split(b"{\"a\":\"bcde"), too_long);
    }

    #[test]
    fn whitespace_between_frames_is_never_kept() {
        let mut splitter = Splitter::new(4);
        assert_eq!(
            splitter.split(b" \t\r\n \n"),
            Ok(Split::Partial { skip: 6 })
        );
        assert_eq!(splitter.split(b"\n{}"), Ok(Split::Frame(1..3)));
    }
}
