//! Why a call has no result.

/// The caller's fault, or the file's.
pub(crate) enum Fault<E> {
    /// The answer is no; nothing was written.
    Refused(E),
    /// The file could not be read or written.
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Fault<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A result that is refused.
pub(crate) fn refused<T, E>(refusal: E) -> Result<T, Fault<E>> {
    Err(Fault::Refused(refusal))
}
