//! Where one frame ends and the next begins.
//!
//! The wire has no delimiter: JSON objects follow each other. Between them there may be whitespace, and what some writers
//! put there: a byte-order mark, a NUL. The splitter finds an object's closing brace without parsing it. It does no I/O
//! and keeps no bytes: it only remembers how far it has looked, so it looks at each byte once, whatever the chunks.

use crate::simd::{equal, padded, up_to};
use memchr::memchr2;
use std::ops::Range;
use wide::u8x16;

/// How deep objects and lists may nest, the frame's own braces included.
pub const MAX_DEPTH: u32 = 128;

/// What the bytes seen so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Split {
    /// A whole frame lies at this place. Drop everything up to its end before the next call.
    Frame(Range<usize>),
    /// More bytes are needed. The first `skip` bytes stand between frames: drop them before the next call.
    Partial {
        /// How many leading bytes to drop.
        skip: usize,
    },
}

/// Why the stream cannot be split any further. It cannot be resynchronised either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A byte between frames that is neither whitespace, a NUL, a byte-order mark nor `{`.
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
    /// How many bytes of the partial frame have been looked at.
    scanned: usize,
    /// What was looked at ends inside a string.
    in_string: bool,
    /// It ends with a backslash, which is no longer special itself.
    escape: bool,
    depth: u32,
    /// One bit a level, the innermost lowest: 1 for an object, 0 for a list.
    kinds: u128,
}

impl Splitter {
    /// A splitter for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            scanned: 0,
            in_string: false,
            escape: false,
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
        let start = if self.in_frame() { 0 } else { gap(buffer) };
        let frame = buffer.get(start..).unwrap_or_default();
        if !self.in_frame() && frame.first() != Some(&b'{') {
            return match BYTE_ORDER_MARK.starts_with(frame) {
                // Nothing, or a part of the mark: the rest of it may come.
                true => Ok(Split::Partial { skip: start }),
                false => Err(SplitError::StrayByte),
            };
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
        loop {
            let rest = frame.get(self.scanned..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            let block = Block::of(rest);
            if let Some(end) = self.look(rest, &block)? {
                let length = self.scanned + end;
                self.scanned = 0;
                return Ok(Some(length));
            }
            self.scanned += block.length;
            if self.in_string && block.quotes | block.backslashes == 0 {
                // Likely a long string.
                let rest = frame.get(self.scanned..).unwrap_or_default();
                self.scanned += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            }
        }
    }

    /// Looks at the block that `bytes` begin with; how long it is up to the frame's end, if that is found.
    #[inline]
    fn look(&mut self, bytes: &[u8], block: &Block) -> Result<Option<usize>, SplitError> {
        let last = block.length - 1;
        let escaped = self.escaped(block.backslashes, last);
        let mut strings = inside(block.quotes & !escaped);
        if self.in_string {
            strings = !strings;
        }
        let mut structure = block.structure & !strings;
        while structure != 0 {
            let at = structure.trailing_zeros() as usize;
            structure &= structure - 1;
            let byte = bytes.get(at).copied().unwrap_or_default();
            match KINDS.get(usize::from(byte)) {
                Some(Kind::Plain) => {}
                Some(Kind::Open) => self.open(byte == b'{')?,
                Some(Kind::Close) => {
                    self.close(byte == b'}')?;
                    if self.depth == 0 {
                        (self.in_string, self.escape) = (false, false);
                        return Ok(Some(at + 1));
                    }
                }
                _ => return Err(SplitError::NotJson),
            }
        }
        self.in_string = strings >> last & 1 == 1;
        Ok(None)
    }

    /// The bytes behind backslashes. What the byte behind the `last` one is, is remembered.
    #[inline]
    fn escaped(&mut self, mut backslashes: u64, last: usize) -> u64 {
        let mut escaped = u64::from(self.escape);
        self.escape = false;
        loop {
            // What is behind a backslash is none.
            backslashes &= !escaped;
            if backslashes == 0 {
                return escaped;
            }
            let first = backslashes & backslashes.wrapping_neg();
            backslashes ^= first;
            escaped |= first << 1;
            self.escape = first == 1 << last;
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

/// Some bytes that are looked at together, one bit a byte, the first lowest.
struct Block {
    length: usize,
    quotes: u64,
    backslashes: u64,
    /// What is not a quote, a comma, a colon or a digit: outside a string there is little of it.
    structure: u64,
}

/// The most bytes of a block.
const BLOCK: usize = u64::BITS as usize;

impl Block {
    /// The first bytes of these.
    #[inline]
    fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..BLOCK).unwrap_or(bytes);
        let mut block = Self {
            length: bytes.len(),
            quotes: 0,
            backslashes: 0,
            structure: 0,
        };
        let (chunks, rest) = bytes.as_chunks();
        for (chunk, at) in chunks.iter().zip((0..).step_by(16)) {
            block.add(u8x16::new(*chunk), at);
        }
        if !rest.is_empty() {
            block.add(padded(rest), 16 * chunks.len());
            block.structure &= (1 << block.length) - 1;
        }
        block
    }

    #[inline]
    fn add(&mut self, bytes: u8x16, at: usize) {
        let bits = |marked: u8x16| u64::from(marked.to_bitmask()) << at;
        let quote = equal(bytes, b'"');
        let colon_or_digit = up_to(bytes - u8x16::splat(b'0'), b':' - b'0');
        let others = quote | equal(bytes, b',') | colon_or_digit;
        self.quotes |= bits(quote);
        self.backslashes |= bits(equal(bytes, b'\\'));
        self.structure |= bits(!others);
    }
}

/// The bytes from each odd quote up to the next one, which is not among them.
#[inline]
fn inside(quotes: u64) -> u64 {
    let shifts = [1, 2, 4, 8, 16, 32];
    (shifts.iter()).fold(quotes, |inside, shift| inside ^ inside << shift)
}

/// U+FEFF, with which some libraries begin whatever they write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes stand before the frame that the buffer begins with: whitespace, byte-order marks, and NUL, which
/// programs in C send behind their texts.
fn gap(buffer: &[u8]) -> usize {
    let mut rest = buffer;
    while let [b' ' | b'\t' | b'\r' | b'\n' | 0, behind @ ..] | [0xef, 0xbb, 0xbf, behind @ ..] =
        rest
    {
        rest = behind;
    }
    buffer.len() - rest.len()
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
    use proptest::prelude::*;

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
    fn a_byte_order_mark_is_skipped_however_it_is_cut() {
        let text = "\u{feff} \0\u{feff}\u{feff}{}\0".as_bytes();
        for chunk in 1..text.len() {
            let mut splitter = Splitter::new(2);
            let (mut buffer, mut frames) = (Vec::new(), 0);
            for bytes in text.chunks(chunk) {
                buffer.extend_from_slice(bytes);
                let skip = loop {
                    match splitter.split(&buffer).unwrap() {
                        Split::Partial { skip } => break skip,
                        Split::Frame(place) => drop(buffer.drain(..place.end)),
                    }
                    frames += 1;
                };
                buffer.drain(..skip);
                assert!(buffer.len() <= 2, "no more than a part of the mark is kept");
            }
            assert_eq!((frames, buffer.len()), (1, 0), "in pieces of {chunk}");
        }
        for stray in ["\u{feff}x", "\u{fefe}{}"] {
            assert_eq!(whole(stray), Err(SplitError::StrayByte));
        }
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

    /// The same, a byte at a time.
    fn bytewise(text: &[u8]) -> Result<Option<usize>, SplitError> {
        let mut splitter = Splitter::new(text.len());
        let (mut in_string, mut escape) = (false, false);
        for (byte, end) in text.iter().zip(1..) {
            match (in_string, KINDS[usize::from(*byte)]) {
                (true, _) if escape => escape = false,
                (true, Kind::Quote) => in_string = false,
                (true, _) => escape = *byte == b'\\',
                (false, Kind::Quote) => in_string = true,
                (false, Kind::Plain) => {}
                (false, Kind::Open) => splitter.open(*byte == b'{')?,
                (false, Kind::Close) => splitter.close(*byte == b'}')?,
                (false, Kind::None) => return Err(SplitError::NotJson),
            }
            if splitter.depth == 0 {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_frame_ends_where_a_look_at_each_byte_says(
            inner in r#"([{}"\\]|\{\}|\[\]|"[^"\\]{0,90}"|\\{1,9}|[a-z0-9 ,:]{0,9}){0,40}"#,
            cuts in proptest::collection::vec(0..200_usize, 0..6),
        ) {
            let text = format!("{{{inner}}}").into_bytes();
            let wanted = bytewise(&text);
            let mut splitter = Splitter::new(text.len());
            let mut end = 0;
            let mut got = Ok(None);
            for cut in cuts.into_iter().chain([text.len()]) {
                end = (end + cut).min(text.len());
                got = splitter.split(&text[..end]).map(|split| match split {
                    Split::Frame(place) => Some(place.end),
                    Split::Partial { .. } => None,
                });
                if got != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(got, wanted);
        }
    }
}
