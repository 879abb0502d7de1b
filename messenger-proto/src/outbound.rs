//! What the server sends: responses and events.

use crate::action::{AttachmentData, Wire};
use crate::event::{EvMessage, Event, Message, Welcome};
use crate::read::{Num, Obj, Owner, Str};
use crate::write::{Braces, Object, key, object};
use crate::{
    Ack, Action, AddContact, Auth, AuthAccepted, Card, Contact, ContactList, DelContact, ErrorCode,
    Failure, Import, MessageAccepted, Profile, Register, SendMessage, SetUserInfo, UserId,
    UserInfo,
};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The action of a reply to a frame that named none.
const UNKNOWN: &str = "unknown";

/// A frame from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outbound {
    /// The answer to a request; answers come in the order of the requests.
    Response(Response),
    /// Something unasked.
    Event(Event),
    /// A frame this library has no name for, from a newer server.
    Other {
        /// Its `action`.
        action: ByteString,
    },
}

/// The frame is not what a server sends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// Not UTF-8.
    #[error("the frame is not UTF-8")]
    Utf8,
    /// Not JSON, or a field has the wrong type.
    #[error("the frame is not what a server sends")]
    Json(#[from] serde_json::Error),
    /// A status that is no 32-bit number.
    #[error("the status is out of range")]
    Status(#[from] std::num::TryFromIntError),
}

macro_rules! responses {
    ($($(#[$doc:meta])* $name:ident = $wire:literal => $accepted:ty,)*) => {
        /// The answer to a request, by action.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Response {
            $($(#[$doc])* $name(Result<$accepted, Failure>),)*
            /// To a frame whose action is none of the protocol's.
            Unknown {
                /// The action as the client sent it, cut to 64 bytes; `unknown` when it sent none.
                action: ByteString,
                /// Why.
                failure: Failure,
            },
        }

        impl Response {
            /// The action's name on the wire.
            pub fn action(&self) -> &str {
                match self {
                    $(Self::$name(_) => $wire,)*
                    Self::Unknown { action, .. } => action,
                }
            }

            /// Why the request failed; `None` when it did not.
            pub fn failure(&self) -> Option<&Failure> {
                match self {
                    $(Self::$name(result) => result.as_ref().err(),)*
                    Self::Unknown { failure, .. } => Some(failure),
                }
            }

            /// The failure of the action with this name; `None` when there is no such action.
            pub fn failed(action: &str, failure: Failure) -> Option<Self> {
                match action {
                    $($wire => Some(Self::$name(Err(failure))),)*
                    _ => None,
                }
            }

            /// How the frame of a success begins.
            fn success(&self) -> Option<&'static str> {
                match self {
                    $(Self::$name(Ok(_)) => Some(concat!(
                        r#"{"action":""#, $wire, r#"","data":{"status":0,"error":"OK""#
                    )),)*
                    _ => None,
                }
            }

            fn write_accepted(&self, data: &mut crate::write::Object<'_>) {
                match self {
                    $(Self::$name(result) => {
                        <$name as Wire>::write_accepted(result.as_ref().ok(), data);
                    })*
                    Self::Unknown { .. } => {}
                }
            }
        }

        $(impl Action for $name {
            const NAME: &'static str = $wire;
            type Accepted = $accepted;

            fn result(response: Response) -> Result<Result<Self::Accepted, Failure>, Response> {
                match response {
                    Response::$name(result) => Ok(result),
                    other => Err(other),
                }
            }
        })*

        /// Reads the `data` of a success of the action with this name.
        fn read_accepted(
            action: &str,
            data: &str,
            frame: Owner<'_>,
        ) -> Result<Option<Response>, serde_json::Error> {
            Ok(Some(match action {
                $($wire => {
                    let data = serde_json::from_str(data)?;
                    Response::$name(Ok(<$name as Wire>::read_accepted(data, frame)))
                })*
                _ => return Ok(None),
            }))
        }
    };
}

responses! {
    /// To `register`.
    Register = "register" => (),
    /// To `auth`.
    Auth = "auth" => AuthAccepted,
    /// To `userinfo`.
    UserInfo = "userinfo" => Profile,
    /// To `contactlist`.
    ContactList = "contactlist" => Vec<Contact>,
    /// To `addcontact`.
    AddContact = "addcontact" => Card,
    /// To `delcontact`.
    DelContact = "delcontact" => UserId,
    /// To `message`.
    SendMessage = "message" => MessageAccepted,
    /// To `import`.
    Import = "import" => Vec<Contact>,
    /// To `setuserinfo`.
    SetUserInfo = "setuserinfo" => (),
    /// To `ack`.
    Ack = "ack" => (),
}

impl Response {
    /// The answer to a frame that named no action, or to a stream that cannot be read on.
    pub fn unknown(failure: Failure) -> Self {
        Self::Unknown {
            action: ByteString::from_static(UNKNOWN),
            failure,
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, braces: Braces) {
        if let Some(begin) = self.success() {
            out.extend_from_slice(begin.as_bytes());
            self.write_accepted(&mut Object::resume(out, braces));
            return out.extend_from_slice(b"}}");
        }
        object(out, braces, |frame| {
            frame.text(key!("action"), self.action());
            frame.object(key!("data"), |data| {
                if let Some(failure) = self.failure() {
                    data.number(key!("status"), failure.code.number().into());
                    data.text(key!("error"), &failure.text);
                }
                self.write_accepted(data);
            });
        });
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    action: Str<'a>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Str<'a>,
    #[serde(default)]
    time: Option<Num>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    status: Num,
    #[serde(borrow, default)]
    error: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EvMessageData<'a> {
    #[serde(borrow)]
    from: Str<'a>,
    #[serde(borrow)]
    nick: Str<'a>,
    #[serde(borrow)]
    body: Str<'a>,
    time: Option<Num>,
    #[serde(borrow)]
    attach: Option<Obj<AttachmentData<'a>>>,
    #[serde(borrow)]
    to: Str<'a>,
    #[serde(borrow)]
    id: Str<'a>,
    seq: Option<Num>,
    /// There when it is no event, but the answer to a request of that name.
    status: Option<Num>,
}

impl EvMessageData<'_> {
    fn read(self, frame: Owner<'_>) -> EvMessage {
        let message = Message {
            from: self.from.id(),
            nick: self.nick.or_empty(frame),
            body: self.body.or_empty(frame).into(),
            time: self.time.unwrap_or_default().0,
            attach: self.attach.unwrap_or_default().0.read(frame),
            to: self.to.id(),
            id: self.id.id(),
        };
        EvMessage {
            seq: self.seq.map(|seq| seq.0),
            message: message.into(),
        }
    }
}

impl Outbound {
    /// Reads one frame, which shares its bytes with what is read.
    ///
    /// Numbers may be quoted, and fields that an older server leaves out are empty.
    ///
    /// # Errors
    /// The frame is not what a server sends.
    pub fn decode(frame: Bytes) -> Result<Self, OutboundError> {
        let frame = ByteString::try_from(frame).map_err(|_| OutboundError::Utf8)?;
        Self::read(&frame, Some(&frame))
    }

    /// Reads one frame out of a buffer, copying the text.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_slice(frame: &[u8]) -> Result<Self, OutboundError> {
        let frame = std::str::from_utf8(frame).map_err(|_| OutboundError::Utf8)?;
        Self::read(frame, None)
    }

    fn read(frame: &str, owner: Owner<'_>) -> Result<Self, OutboundError> {
        let Obj(envelope) = serde_json::from_str::<Obj<Envelope<'_>>>(frame)?;
        let action = envelope.action.or_empty(owner);
        let data = envelope.data.map(RawValue::get).unwrap_or("{}");
        match &*action {
            "welcome" if !is_refusal(data) => Ok(Self::Event(Event::Welcome(Welcome {
                message: envelope.message.or_empty(owner),
                time: envelope.time.unwrap_or_default().0,
            }))),
            "ev_message" => {
                let Obj(event) = serde_json::from_str::<Obj<EvMessageData<'_>>>(data)?;
                if event.status.is_some() && is_refusal(data) {
                    return read_response(action, data, owner);
                }
                Ok(Self::Event(Event::Message(event.read(owner))))
            }
            _ => read_response(action, data, owner),
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, braces: Braces) {
        match self {
            Self::Response(response) => response.encode(out, braces),
            Self::Event(event) => event.encode(out, braces),
            Self::Other { action } => object(out, braces, |frame| {
                frame.text(key!("action"), action);
            }),
        }
    }
}

/// True for the answer to a request that was refused.
fn is_refusal(data: &str) -> bool {
    let outcome = serde_json::from_str::<Obj<Outcome<'_>>>(data);
    outcome.is_ok_and(|Obj(outcome)| outcome.status.0 != 0)
}

fn read_response(
    action: ByteString,
    data: &str,
    frame: Owner<'_>,
) -> Result<Outbound, OutboundError> {
    let Ok(Obj(outcome)) = serde_json::from_str::<Obj<Outcome<'_>>>(data) else {
        // Without a status it is no response of any action, so it can only be something new.
        return match Response::failed(&action, Failure::new(ErrorCode::Other(0), "")) {
            None => Ok(Outbound::Other { action }),
            Some(_) => Err(OutboundError::Json(serde::de::Error::missing_field(
                "status",
            ))),
        };
    };
    let Some(code) = ErrorCode::from_number(outcome.status.0.try_into()?) else {
        return Ok(match read_accepted(&action, data, frame)? {
            Some(response) => Outbound::Response(response),
            None => Outbound::Other { action },
        });
    };
    let failure = Failure::new(code, String::from(&*outcome.error.or_empty(frame)));
    let response =
        Response::failed(&action, failure.clone()).unwrap_or(Response::Unknown { action, failure });
    Ok(Outbound::Response(response))
}
