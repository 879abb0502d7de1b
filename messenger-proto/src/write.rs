//! Writing JSON objects, compact, byte-exact.

use crate::simd::{equal, first, up_to};
use bytes::BytesMut;
use wide::u8x16;

/// How `{` and `}` inside strings are written.
///
/// Deployed clients split frames by counting braces without looking at strings, so the default
/// writes them as `\u007b` and `\u007d`. Any JSON parser reads the same text back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Braces {
    /// As `\u007b` and `\u007d`.
    #[default]
    Escaped,
    /// As they are.
    Plain,
}

/// What is escaped in strings beyond what JSON demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Escapes {
    /// How braces are written.
    pub braces: Braces,
    /// Whatever is not ASCII is written as `\uXXXX`, for clients that cannot read a character which comes in two
    /// parts. Off.
    pub ascii_only: bool,
}

impl Escapes {
    /// With nothing but ASCII.
    pub fn ascii_only(mut self) -> Self {
        self.ascii_only = true;
        self
    }
}

impl From<Braces> for Escapes {
    fn from(braces: Braces) -> Self {
        Self {
            braces,
            ascii_only: false,
        }
    }
}

/// An object being written. Fields stand in the order of the calls.
pub(crate) struct Object<'a> {
    out: &'a mut BytesMut,
    escapes: Escapes,
    empty: bool,
}

/// A key of ours, which needs no escapes, with all that stands around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// `,"key":`
    pub(crate) behind_others: &'static str,
}

/// The [`Key`] with this name.
macro_rules! key {
    ($name:literal) => {
        $crate::write::Key {
            behind_others: concat!(",\"", $name, "\":"),
        }
    };
}

pub(crate) use key;

/// Writes one object through `fields`.
pub(crate) fn object(out: &mut BytesMut, escapes: Escapes, fields: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"{");
    fields(&mut Object::begin(out, escapes));
    out.extend_from_slice(b"}");
}

impl<'a> Object<'a> {
    /// Begins behind an opening brace; the caller writes both braces.
    fn begin(out: &'a mut BytesMut, escapes: Escapes) -> Self {
        Self {
            out,
            escapes,
            empty: true,
        }
    }

    /// Goes on with an object that has fields already.
    pub(crate) fn resume(out: &'a mut BytesMut, escapes: Escapes) -> Self {
        Self {
            out,
            escapes,
            empty: false,
        }
    }

    pub(crate) fn text(&mut self, key: Key, value: &str) {
        self.key(key);
        string(self.out, value, self.escapes);
    }

    pub(crate) fn number(&mut self, key: Key, value: u64) {
        self.key(key);
        digits(self.out, value);
    }

    pub(crate) fn object(&mut self, key: Key, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        object(self.out, self.escapes, fields);
    }

    pub(crate) fn objects<T>(
        &mut self,
        key: Key,
        items: impl IntoIterator<Item = T>,
        mut fields: impl FnMut(&mut Object<'_>, T),
    ) {
        self.open_list(key);
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b",");
            }
            object(self.out, self.escapes, |object| fields(object, item));
        }
        self.out.extend_from_slice(b"]");
    }

    /// Begins a list, whose items and end the caller writes.
    pub(crate) fn open_list(&mut self, key: Key) {
        self.key(key);
        self.out.extend_from_slice(b"[");
    }

    pub(crate) fn texts<'t>(&mut self, key: Key, items: impl IntoIterator<Item = &'t str>) {
        self.key(key);
        self.out.extend_from_slice(b"[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b",");
            }
            string(self.out, item, self.escapes);
        }
        self.out.extend_from_slice(b"]");
    }

    /// Writes a key, which the caller has its value follow.
    fn key(&mut self, key: Key) {
        let comma = usize::from(self.empty);
        let key = key.behind_others.as_bytes();
        self.out
            .extend_from_slice(key.get(comma..).unwrap_or_default());
        self.empty = false;
    }
}

/// Writes a JSON string.
fn string(out: &mut BytesMut, text: &str, escapes: Escapes) {
    out.extend_from_slice(b"\"");
    escaped(out, text, escapes);
    out.extend_from_slice(b"\"");
}

/// Writes what stands between the quotes of a JSON string.
#[inline]
pub(crate) fn escaped(out: &mut BytesMut, text: &str, escapes: Escapes) {
    if text.is_empty() {
        return;
    }
    let rest = match escapes.ascii_only {
        true => as_ascii(out, text, escapes.braces),
        false => text,
    };
    escaped_ascii(out, rest, escapes.braces);
}

/// Writes everything up to the last character beyond ASCII, and gives what is behind it.
fn as_ascii<'a>(out: &mut BytesMut, text: &'a str, braces: Braces) -> &'a str {
    let mut rest = text;
    while let Some((before, behind)) =
        first(rest.as_bytes(), beyond_ascii).and_then(|at| rest.split_at_checked(at))
    {
        escaped_ascii(out, before, braces);
        let mut characters = behind.chars();
        let mut units = [0; 2];
        if let Some(character) = characters.next() {
            for unit in character.encode_utf16(&mut units) {
                escape_unit(out, *unit);
            }
        }
        rest = characters.as_str();
    }
    rest
}

/// Escapes what is ASCII, and nothing else. What needs no escape is found many bytes at a time and copied whole.
fn escaped_ascii(out: &mut BytesMut, text: &str, braces: Braces) {
    let mut rest = text.as_bytes();
    while let Some((before, special, after)) = split_at_special(rest) {
        out.extend_from_slice(before);
        escape(out, special, braces);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Writes a number.
pub(crate) fn digits(out: &mut BytesMut, number: u64) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(number).as_bytes());
}

/// True when the text is written as it is.
pub(crate) fn is_clean(text: &str, escapes: Escapes) -> bool {
    let is_written = !escapes.ascii_only || text.is_ascii();
    is_written && split_at_special(text.as_bytes()).is_none()
}

/// What stands before the first byte that may need an escape, that byte, and what follows it.
fn split_at_special(text: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let index = first(text, special)?;
    let (before, after) = text.split_at_checked(index)?;
    let (special, after) = after.split_first()?;
    Some((before, *special, after))
}

/// The most bytes the text takes as a JSON string, without its quotes.
pub(crate) fn escaped_len(text: &str) -> usize {
    /// What a byte of a character beyond ASCII takes: such a character has two at the least.
    const BEYOND_ASCII: usize = UNIT / 2;
    // A picture mostly is, and it is found out faster than counted.
    if is_clean(text, Escapes::default().ascii_only()) {
        return text.len();
    }
    let lengths = text.bytes().map(|byte| match byte {
        0x80.. => BEYOND_ASCII,
        byte if is_special(byte) => UNIT,
        _ => 1,
    });
    lengths.sum()
}

/// The bytes of `\u0000`.
const UNIT: usize = r"\u0000".len();

fn beyond_ascii(bytes: u8x16) -> u8x16 {
    !up_to(bytes, 0x7f)
}

/// As [`is_special`], for many bytes.
fn special(bytes: u8x16) -> u8x16 {
    let quoted = equal(bytes, b'"') | equal(bytes, b'\\');
    up_to(bytes, 0x1f) | quoted | equal(bytes, b'{') | equal(bytes, b'}')
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == b'{') | (byte == b'}')
}

fn escape(out: &mut BytesMut, byte: u8, braces: Braces) {
    let short: &[u8] = match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        0x08 => b"\\b",
        0x0c => b"\\f",
        b'{' if braces == Braces::Plain => b"{",
        b'}' if braces == Braces::Plain => b"}",
        _ => return escape_unit(out, byte.into()),
    };
    out.extend_from_slice(short);
}

/// Writes a unit of UTF-16 as `\uXXXX`.
pub(crate) fn escape_unit(out: &mut BytesMut, unit: u16) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let digit = |shift: u32| {
        let nibble = usize::from(unit >> shift & 0xf);
        HEX.get(nibble).copied().unwrap_or_default()
    };
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str, escapes: impl Into<Escapes>) -> String {
        let mut out = BytesMut::new();
        string(&mut out, text, escapes.into());
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn escapes_are_the_short_ones() {
        assert_eq!(
            written("\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}é", Braces::Escaped),
            "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\u{7f}é\""
        );
    }

    #[test]
    fn braces_are_hidden_unless_told_otherwise() {
        assert_eq!(written(":-} {", Braces::Escaped), r#"":-\u007d \u007b""#);
        assert_eq!(written(":-} {", Braces::Plain), r#"":-} {""#);
    }

    #[test]
    fn ascii_alone_is_written_when_that_is_asked_for() {
        let ascii = Escapes::from(Braces::Plain).ascii_only();
        assert_eq!(written("é{\n😀x", ascii), r#""\u00e9{\n\ud83d\ude00x""#);
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "\\PC{0,80}|[\\x00-\\x7f]{0,80}|[é😀a\"]{0,9}") {
            for braces in [Braces::Escaped, Braces::Plain] {
                let escapes = Escapes::from(braces);
                for escapes in [escapes, escapes.ascii_only()] {
                    let json = written(&text, escapes);
                    prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
                    prop_assert!(json.is_ascii() || !escapes.ascii_only);
                    if braces == Braces::Escaped {
                        prop_assert_eq!(json.find(['{', '}']), None);
                    }
                    prop_assert!(json.len() <= escaped_len(&text) + 2);
                    if is_clean(&text, escapes) {
                        prop_assert_eq!(json.len(), text.len() + 2);
                    }
                }
            }
        }
    }
}
