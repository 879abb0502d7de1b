//! What goes with a message.

use crate::PrivateText;
use crate::read::{FrameBytes, Str};
use crate::write::{Object, key};
use bytestring::ByteString;
use serde::Deserialize;

/// A file that goes with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Its MIME type.
    pub mime: ByteString,
    /// Its base64 text, passed through byte for byte.
    pub data: PrivateText,
}

impl Attachment {
    /// A file of this type, as base64 text.
    pub fn new(mime: impl Into<ByteString>, data: impl Into<PrivateText>) -> Self {
        Self {
            mime: mime.into(),
            data: data.into(),
        }
    }

    /// True when there is nothing attached.
    pub fn is_empty(&self) -> bool {
        self.mime.is_empty() && self.data.is_empty()
    }

    pub(crate) fn write(&self, attach: &mut Object<'_>) {
        attach.text(key!("mime"), &self.mime);
        attach.text(key!("data"), self.data.as_str());
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AttachmentData<'a> {
    #[serde(borrow)]
    mime: Str<'a>,
    #[serde(borrow)]
    data: Str<'a>,
}

impl AttachmentData<'_> {
    pub(crate) fn read(self, frame: FrameBytes<'_>) -> Attachment {
        Attachment {
            mime: self.mime.or_empty(frame),
            data: self.data.or_empty(frame).into(),
        }
    }
}
