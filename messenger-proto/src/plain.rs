//! The usual form of JSON, read without a parser: nothing but strings, no escapes, no whitespace.
//!
//! Whatever is written in another way is not read here, but by the parser, which alone can tell what
//! is wrong with it.

use crate::simd::{equal, first, up_to};

/// What is left to be read.
pub(crate) struct Plain<'a> {
    rest: &'a [u8],
    /// All there was to read, if that is known to be UTF-8.
    text: Option<&'a str>,
}

impl<'a> Plain<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self {
            rest: text.as_bytes(),
            text: Some(text),
        }
    }

    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            text: None,
        }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads exactly this.
    pub(crate) fn skip(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        let string = self.quoted()?;
        match self.text {
            None => str::from_utf8(string).ok(),
            Some(text) => {
                let end = text.len() - self.rest.len() - 1;
                text.get(end - string.len()..end)
            }
        }
    }

    /// Reads a string; the bytes between its quotes.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        self.skip("\"")?;
        let end = first(self.rest, |bytes| {
            equal(bytes, b'"') | equal(bytes, b'\\') | up_to(bytes, 0x1f)
        })?;
        let (string, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.skip("\"")?;
        Some(string)
    }

    /// Reads the fields of an object whose opening brace has been read, and the closing one; `field`
    /// reads a value.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&[u8], &mut Self) -> Option<()>,
    ) -> Option<()> {
        loop {
            let key = self.quoted()?;
            self.skip(":")?;
            field(key, self)?;
            if self.skip(",").is_none() {
                return self.skip("}");
            }
        }
    }
}
