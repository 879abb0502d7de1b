//! Randomness as an input.

use std::fmt;

/// Fills bytes that nobody can guess. The engine has no other source of randomness.
///
/// # Examples
/// ```
/// use messenger_core::Engine;
/// use messenger_core::entropy::{Entropy, NoEntropy};
/// use std::fs::File;
/// use std::io::Read;
/// use std::sync::Arc;
///
/// /// A device that gives random bytes.
/// #[derive(Debug)]
/// struct Device(File);
///
/// impl Entropy for Device {
///     fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
///         (&self.0).read_exact(bytes).map_err(|error| NoEntropy(error.into()))
///     }
/// }
///
/// # #[cfg(unix)] {
/// let device = Device(File::open("/dev/urandom")?);
/// Engine::builder().entropy(Arc::new(device)).manual_maintenance().build()?;
///
/// // Without randomness no engine begins.
/// let empty = Device(File::open("/dev/null")?);
/// assert!(Engine::builder().entropy(Arc::new(empty)).manual_maintenance().build().is_err());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
