//! The limits of fields.

use super::failures::{empty, over_limit};
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

/// A login or a nick: short, without control characters or spaces around it.
pub(super) fn name(field: &str, text: &str, limit: usize) -> Result<(), Failure> {
    at_most_chars(field, text, limit)?;
    let fault = if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else if text.trim().len() != text.len() {
        "must not begin or end with a space"
    } else {
        return Ok(());
    };
    Err(Failure::new(
        ErrorCode::InvalidData,
        format!("{field} {fault}"),
    ))
}
