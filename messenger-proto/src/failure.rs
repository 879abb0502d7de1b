//! A request that was not carried out.

use crate::ErrorCode;
use std::borrow::Cow;

/// A failed request: the code for the program, the sentence for the person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} (status {code})")]
#[non_exhaustive]
pub struct Failure {
    /// The number in `status`.
    pub code: ErrorCode,
    /// The English sentence in `error`.
    pub text: Cow<'static, str>,
}

impl Failure {
    /// A failure with this code and sentence.
    pub fn new(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}
