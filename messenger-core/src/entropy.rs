//! Randomness as an input.

use std::fmt;

/// Fills bytes that nobody can guess. The engine has no other source of randomness.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// There is no randomness to be had; nothing may be made of what is in `bytes`.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the source of randomness failed")]
pub struct NoEntropy(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The operating system's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(bytes).map_err(|error| NoEntropy(error.into()))
    }
}
