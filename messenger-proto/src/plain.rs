//! The usual form of JSON, read without a parser: nothing but strings, no escapes, no whitespace.
//!
//! Whatever is written in another way is not read here, but by the parser, which alone can tell what
//! is wrong with it.

use crate::simd::{equal, first, up_to};

/// What is left to be read.
pub(crate) struct Plain<'a>(&'a str);

impl<'a> Plain<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Reads exactly this.
    pub(crate) fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        self.skip("\"")?;
        let end = first(self.0.as_bytes(), |bytes| {
            equal(bytes, b'"') | equal(bytes, b'\\') | up_to(bytes, 0x1f)
        })?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        self.skip("\"")?;
        Some(text)
    }

    /// Reads the fields of an object whose opening brace has been read, and the closing one; `field`
    /// reads a value.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Option<()>,
    ) -> Option<()> {
        loop {
            let key = self.string()?;
            self.skip(":")?;
            field(key, self)?;
            if self.skip(",").is_none() {
                return self.skip("}");
            }
        }
    }

    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
