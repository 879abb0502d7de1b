//! `contactlist`: the caller's contacts.

use super::Fields;
use crate::read::FrameBytes;
use crate::write::Object;
use serde::de::IgnoredAny;

/// Asks for the caller's contacts, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactList {}

impl ContactList {
    /// All of the caller's contacts.
    pub fn new() -> Self {
        Self {}
    }
}

impl Fields for ContactList {
    type Data<'a> = IgnoredAny;

    fn read(_: IgnoredAny, _: FrameBytes<'_>) -> Self {
        Self {}
    }

    fn write(&self, _: &mut Object<'_>) {}
}
