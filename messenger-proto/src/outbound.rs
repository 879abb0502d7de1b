//! What the server sends: responses and events.

use crate::action::{known, read_success};
use crate::attachment::AttachmentData;
use crate::event::{EvMessage, Event, Message, Welcome};
use crate::read::{FrameBytes, Num, Obj, Str};
use crate::write::{Escapes, Object, key, object};
use crate::{ErrorCode, Failure, Response};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The action of a reply to a frame that named none.
pub(crate) const UNKNOWN: &str = "unknown";

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
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A status that is no 32-bit number.
    #[error("the status is out of range")]
    Status(#[from] std::num::TryFromIntError),
}

impl OutboundError {
    fn json(cause: serde_json::Error) -> Self {
        Self::Json(cause.into())
    }
}

impl Response {
    /// The answer to a frame that named no action, or to a stream that cannot be read on.
    pub fn unknown(failure: Failure) -> Self {
        Self::Unknown {
            action: ByteString::from_static(UNKNOWN),
            failure,
        }
    }
}

impl Failure {
    /// Appends the frame of an answer to `out`; `fields` are those of `data` that follow `status` and `error`.
    pub(crate) fn encode(
        &self,
        action: &str,
        fields: impl FnOnce(&mut Object<'_>),
        out: &mut BytesMut,
        escapes: Escapes,
    ) {
        object(out, escapes, |frame| {
            frame.text(key!("action"), action);
            frame.object(key!("data"), |data| {
                data.number(key!("status"), self.code.number().into());
                data.text(key!("error"), &self.text);
                fields(data);
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
    fn read(self, frame: FrameBytes<'_>) -> EvMessage {
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

    fn read(text: &str, frame: FrameBytes<'_>) -> Result<Self, OutboundError> {
        let Obj(envelope) = parse::<Obj<Envelope<'_>>>(text)?;
        let action = envelope.action.or_empty(frame);
        let data = envelope.data.map(RawValue::get).unwrap_or("{}");
        match &*action {
            "welcome" if !is_refusal(data) => Ok(Self::Event(Event::Welcome(Welcome {
                message: envelope.message.or_empty(frame),
                time: envelope.time.unwrap_or_default().0,
            }))),
            "ev_message" => {
                let Obj(event) = parse::<Obj<EvMessageData<'_>>>(data)?;
                if event.status.is_some() && is_refusal(data) {
                    return read_response(action, data, frame);
                }
                Ok(Self::Event(Event::Message(event.read(frame))))
            }
            _ => read_response(action, data, frame),
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, escapes: impl Into<Escapes>) {
        let escapes = escapes.into();
        match self {
            Self::Response(response) => response.encode(out, escapes),
            Self::Event(event) => event.encode(out, escapes),
            Self::Other { action } => object(out, escapes, |frame| {
                frame.text(key!("action"), action);
            }),
        }
    }
}

/// Reads JSON of a server.
fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, OutboundError> {
    serde_json::from_str(json).map_err(OutboundError::json)
}

/// True for the answer to a request that was refused.
fn is_refusal(data: &str) -> bool {
    parse::<Obj<Outcome<'_>>>(data).is_ok_and(|Obj(outcome)| outcome.status.0 != 0)
}

fn read_response(
    action: ByteString,
    data: &str,
    frame: FrameBytes<'_>,
) -> Result<Outbound, OutboundError> {
    let outcome = match parse::<Obj<Outcome<'_>>>(data) {
        Ok(Obj(outcome)) => outcome,
        // Without a status it is no response of any action, so it can only be something new.
        Err(_) if known(&action).is_none() => return Ok(Outbound::Other { action }),
        Err(error) => return Err(error),
    };
    let Some(code) = ErrorCode::from_number(outcome.status.0.try_into()?) else {
        let success = read_success(&action, frame, data).map_err(OutboundError::json)?;
        return Ok(match success {
            Some(response) => Outbound::Response(response),
            None => Outbound::Other { action },
        });
    };
    let failure = Failure::new(code, String::from(&*outcome.error.or_empty(frame)));
    let response =
        Response::failed(&action, failure.clone()).unwrap_or(Response::Unknown { action, failure });
    Ok(Outbound::Response(response))
}
