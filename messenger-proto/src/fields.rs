//! What stands in `data`.

use crate::read::FrameBytes;
use crate::write::Object;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A request, or what success brings, as fields of `data`.
pub(crate) trait Fields: Default {
    /// The fields as they arrive. A field that is not among them is ignored.
    type Data<'a>: Deserialize<'a>;

    fn read(data: Self::Data<'_>, frame: FrameBytes<'_>) -> Self;

    fn write(&self, data: &mut Object<'_>);

    /// Writes the fields of a failure: all of them, empty, for a deployed client throws on a missing one.
    fn write_unset(data: &mut Object<'_>) {
        Self::default().write(data);
    }
}

/// The success of an action that brings nothing.
impl Fields for () {
    type Data<'a> = IgnoredAny;

    fn read(_: Self::Data<'_>, _: FrameBytes<'_>) {}

    fn write(&self, _: &mut Object<'_>) {}
}
