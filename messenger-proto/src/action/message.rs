//! `message`: text, an attachment, or both, for another user.

use super::Fields;
use crate::attachment::{Attachment, AttachmentData};
use crate::plain::Plain;
use crate::read::{FrameBytes, Num, Obj, RequiredStr, Str};
use crate::write::{Object, key};
use crate::{Credentials, Inbound, MessageId, PrivateText, Request, UserId};
use bytestring::ByteString;
use serde::Deserialize;

/// Sends a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendMessage {
    /// The recipient; oneself is allowed.
    pub uid: UserId,
    /// The text; may be empty when there is an attachment.
    pub body: PrivateText,
    /// The attachment, empty when there is none.
    pub attach: Attachment,
    /// The client's own id for the message. Sending again with the same one stores nothing twice.
    pub mid: Option<ByteString>,
}

impl SendMessage {
    /// This text for this user, without an attachment.
    pub fn new(uid: impl Into<UserId>, body: impl Into<PrivateText>) -> Self {
        Self {
            uid: uid.into(),
            body: body.into(),
            ..Self::default()
        }
    }

    /// With this attachment.
    pub fn attach(mut self, attach: Attachment) -> Self {
        self.attach = attach;
        self
    }

    /// Under this id of the client's own.
    pub fn mid(mut self, mid: impl Into<ByteString>) -> Self {
        self.mid = Some(mid.into());
        self
    }
}

/// The message is stored and will be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageAccepted {
    /// Its id, the same in every copy.
    pub id: MessageId,
    /// When it was accepted, in whole seconds since the Unix epoch.
    pub time: u64,
}

impl MessageAccepted {
    /// A message with this id, accepted at this time.
    pub fn new(id: impl Into<MessageId>, time: u64) -> Self {
        Self {
            id: id.into(),
            time,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    uid: RequiredStr<'a>,
    #[serde(borrow, default)]
    body: Str<'a>,
    #[serde(borrow, default)]
    attach: Option<Obj<AttachmentData<'a>>>,
    #[serde(borrow, default)]
    mid: Str<'a>,
}

/// Reads a frame that asks for this in the usual form, as clients write it.
#[inline]
pub(crate) fn read_plain(text: &mut Plain<'_>, frame: FrameBytes<'_>) -> Option<Inbound> {
    let [
        mut uid,
        mut body,
        mut mime,
        mut attached,
        mut mid,
        mut cid,
        mut sid,
    ] = [const { Str::absent() }; 7];
    let mut has_attachment = false;
    text.skip(r#"{"action":"message","data":{"#)?;
    text.fields(|key, text| match key {
        b"uid" => uid.set(text.string()?),
        b"body" => body.set(text.string()?),
        b"attach" if !has_attachment => {
            has_attachment = true;
            text.skip("{")?;
            text.fields(|key, text| match key {
                b"mime" => mime.set(text.string()?),
                b"data" => attached.set(text.string()?),
                _ => None,
            })
        }
        b"mid" => mid.set(text.string()?),
        b"cid" => cid.set(text.string()?),
        b"sid" => sid.set(text.string()?),
        _ => None,
    })?;
    text.skip("}")?;
    let uid = uid.required()?;
    // Made where it is returned: it is large, and there are many.
    Some(Inbound {
        credentials: Credentials::read(cid, sid, frame),
        request: Request::SendMessage(SendMessage {
            uid: uid.as_str().into(),
            body: body.or_empty(frame).into(),
            attach: Attachment {
                mime: mime.or_empty(frame),
                data: attached.or_empty(frame).into(),
            },
            mid: mid.text(frame),
        }),
    })
}

impl Fields for SendMessage {
    type Data<'a> = Data<'a>;

    #[inline]
    fn read(data: Data<'_>, frame: FrameBytes<'_>) -> Self {
        let attach = data.attach.unwrap_or_default().0;
        Self {
            uid: data.uid.as_str().into(),
            body: data.body.or_empty(frame).into(),
            attach: attach.read(frame),
            mid: data.mid.text(frame),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("uid"), self.uid.as_str());
        data.text(key!("body"), self.body.as_str());
        if !self.attach.is_empty() {
            data.object(key!("attach"), |attach| self.attach.write(attach));
        }
        if let Some(mid) = &self.mid {
            data.text(key!("mid"), mid);
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    time: Option<Num>,
}

impl Fields for MessageAccepted {
    type Data<'a> = AcceptedData<'a>;

    fn read(data: AcceptedData<'_>, _: FrameBytes<'_>) -> Self {
        Self {
            id: data.id.id(),
            time: data.time.unwrap_or_default().0,
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("id"), self.id.as_str());
        data.number(key!("time"), self.time);
    }

    /// Both are additions to the seed, so a failure goes without them.
    fn write_unset(_: &mut Object<'_>) {}
}
