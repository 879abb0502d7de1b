//! `logout`: the end of a session.

use super::Fields;
use crate::read::FrameBytes;
use crate::write::Object;
use serde::de::IgnoredAny;

/// Ends the session. The connection stays, unauthenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logout {}

impl Logout {
    /// The end of the caller's session.
    pub fn new() -> Self {
        Self {}
    }
}

impl Fields for Logout {
    type Data<'a> = IgnoredAny;

    fn read(_: IgnoredAny, _: FrameBytes<'_>) -> Self {
        Self {}
    }

    fn write(&self, _: &mut Object<'_>) {}
}
