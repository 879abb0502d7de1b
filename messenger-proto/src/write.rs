//! Writing JSON objects, compact, byte-exact.

use bytes::BytesMut;

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

/// An object being written. Fields stand in the order of the calls.
pub(crate) struct Object<'a> {
    out: &'a mut BytesMut,
    braces: Braces,
    empty: bool,
}

/// Writes one object through `fields`.
pub(crate) fn object(out: &mut BytesMut, braces: Braces, fields: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"{");
    fields(&mut Object::begin(out, braces));
    out.extend_from_slice(b"}");
}

impl<'a> Object<'a> {
    /// Begins behind an opening brace; the caller writes both braces.
    pub(crate) fn begin(out: &'a mut BytesMut, braces: Braces) -> Self {
        Self {
            out,
            braces,
            empty: true,
        }
    }

    /// Goes on with an object that has fields already.
    pub(crate) fn resume(out: &'a mut BytesMut, braces: Braces) -> Self {
        Self {
            out,
            braces,
            empty: false,
        }
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        string(self.out, value, self.braces);
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        let mut digits = itoa::Buffer::new();
        self.out.extend_from_slice(digits.format(value).as_bytes());
    }

    pub(crate) fn object(&mut self, key: &str, fields: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        object(self.out, self.braces, fields);
    }

    pub(crate) fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut fields: impl FnMut(&mut Object<'_>, T),
    ) {
        self.key(key);
        self.out.extend_from_slice(b"[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b",");
            }
            object(self.out, self.braces, |object| fields(object, item));
        }
        self.out.extend_from_slice(b"]");
    }

    pub(crate) fn texts<'t>(&mut self, key: &str, items: impl IntoIterator<Item = &'t str>) {
        self.key(key);
        self.out.extend_from_slice(b"[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b",");
            }
            string(self.out, item, self.braces);
        }
        self.out.extend_from_slice(b"]");
    }

    /// Writes a key of our own, which needs no escapes.
    fn key(&mut self, key: &str) {
        self.out
            .extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.empty = false;
    }
}

/// Writes a JSON string. What needs no escape is found many bytes at a time and copied whole.
fn string(out: &mut BytesMut, text: &str, braces: Braces) {
    const CHUNK: usize = 32;
    out.reserve(text.len() + 2);
    out.extend_from_slice(b"\"");
    let mut clean = text.as_bytes();
    let mut run = 0;
    while let Some(rest) = clean.get(run..).filter(|rest| !rest.is_empty()) {
        let chunk = rest.get(..CHUNK).unwrap_or(rest);
        // Without an early exit the compiler makes this a few vector instructions.
        if !chunk
            .iter()
            .fold(false, |any, byte| any | is_special(*byte))
        {
            run += chunk.len();
            continue;
        }
        let Some(index) = chunk.iter().position(|byte| is_special(*byte)) else {
            break;
        };
        let (before, after) = clean.split_at(run + index);
        out.extend_from_slice(before);
        if let Some((special, after)) = after.split_first() {
            escape(out, *special, braces);
            clean = after;
        }
        run = 0;
    }
    out.extend_from_slice(clean);
    out.extend_from_slice(b"\"");
}

/// The most bytes the text takes as a JSON string, without its quotes.
pub(crate) fn escaped_len(text: &str) -> usize {
    let special = text.bytes().filter(|byte| is_special(*byte)).count();
    text.len() + special * (r"\u0000".len() - 1)
}

fn is_special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == b'{') | (byte == b'}')
}

fn escape(out: &mut BytesMut, byte: u8, braces: Braces) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
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
        _ => {
            let [high, low] = [byte >> 4, byte & 0xf]
                .map(|nibble| HEX.get(usize::from(nibble)).copied().unwrap_or_default());
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(short);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str, braces: Braces) -> String {
        let mut out = BytesMut::new();
        string(&mut out, text, braces);
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

    proptest! {
        #[test]
        fn any_text_reads_back(text in "\\PC{0,80}|[\\x00-\\x7f]{0,80}") {
            for braces in [Braces::Escaped, Braces::Plain] {
                let json = written(&text, braces);
                prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
                if braces == Braces::Escaped {
                    prop_assert_eq!(json.find(['{', '}']), None);
                }
            }
        }
    }
}
