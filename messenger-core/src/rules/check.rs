//! The limits of fields.

use super::failures::{empty, over_limit};
use crate::names::{self, NameError};
use messenger_proto::{ErrorCode, Failure};

pub(super) fn not_empty(field: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Err(empty(field));
    }
    Ok(())
}

pub(super) fn at_most_bytes(field: &str, text: &str, limit: usize) -> Result<(), Failure> {
    if text.len() > limit {
        return Err(over_limit(field, limit, "bytes"));
    }
    Ok(())
}

pub(super) fn at_most_chars(field: &str, text: &str, limit: usize) -> Result<(), Failure> {
    // A text of no more bytes has no more characters.
    if text.len() > limit && text.chars().nth(limit).is_some() {
        return Err(over_limit(field, limit, "characters"));
    }
    Ok(())
}

/// A new login, in the form in which it is kept.
pub(super) fn login(text: &str, limit: usize) -> Result<String, Failure> {
    name("login", text, limit, names::login)
}

/// A new nick, in the form in which it is kept.
pub(super) fn nick(text: &str, limit: usize) -> Result<String, Failure> {
    name("nick", text, limit, names::nick)
}

fn name(
    field: &str,
    text: &str,
    limit: usize,
    rule: impl FnOnce(&str) -> Result<String, NameError>,
) -> Result<String, Failure> {
    at_most_chars(field, text, limit)?;
    let kept = rule(text).map_err(|error| {
        let text = format!("{field} {error}");
        Failure::new(ErrorCode::InvalidData, text)
    })?;
    // Some characters are composed of more of them.
    at_most_chars(field, &kept, limit)?;
    Ok(kept)
}
