//! Errors for people, in a line each.

use std::error::Error;

/// What fails, and why.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    // A cause may be several lines long.
    format!("{error}{causes}").replace('\n', " ")
}
