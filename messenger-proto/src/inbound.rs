//! What clients send: requests, and frames that ought to have been requests.

use crate::action::{known, message, read_request};
use crate::fields::Fields;
use crate::outbound::UNKNOWN;
use crate::plain::Plain;
use crate::read::{FrameBytes, Keys, Lenient, RequiredStr, Str, no_fields};
use crate::write::{Escapes, key, object};
use crate::{Action, Auth, ErrorCode, Failure, Register, Request, Response, SessionId, UserId};
use bytes::BytesMut;
use bytestring::ByteString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// The longest name that is echoed to a client, in bytes.
const ECHOED: usize = 64;

/// The actions that ask for no session, so that `cid` and `sid` are nothing to them.
const SESSIONLESS: [&str; 2] = [Register::NAME, Auth::NAME];

/// A request and the session it says it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inbound {
    /// `cid` and `sid`.
    pub credentials: Credentials,
    /// What is asked.
    pub request: Request,
}

/// `cid` and `sid`, each empty when absent. `register` and `auth` have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The caller's own user id.
    pub cid: UserId,
    /// The caller's session.
    pub sid: SessionId,
    /// Which of them was no string, and so is empty.
    unreadable: Option<&'static str>,
}

impl Credentials {
    /// This user's session.
    pub fn new(cid: impl Into<UserId>, sid: impl Into<SessionId>) -> Self {
        Self {
            cid: cid.into(),
            sid: sid.into(),
            unreadable: None,
        }
    }

    #[inline]
    pub(crate) fn read(cid: Str<'_>, sid: Str<'_>, frame: FrameBytes<'_>) -> Self {
        Self {
            cid: cid.id(),
            sid: sid.or_empty(frame).into(),
            unreadable: None,
        }
    }

    /// True when neither is there.
    pub fn is_empty(&self) -> bool {
        self.cid.is_empty() && self.sid.is_empty() && self.unreadable.is_none()
    }

    /// Whether both could be read: to be asked where they are looked at, and nowhere else.
    ///
    /// # Errors
    /// One of them is no string: status 3, with its name in the text.
    pub fn check(&self) -> Result<(), Failure> {
        let fault = |field| Failure::new(ErrorCode::InvalidData, data_fault(field));
        self.unreadable.map_or(Ok(()), |field| Err(fault(field)))
    }
}

/// A frame that is well-formed but no request. The connection goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// There is no `action`, or it is no string.
    #[error("the frame has no action")]
    NoAction,
    /// The action is none of the protocol's.
    #[error("the action is unknown")]
    UnknownAction {
        /// Its name, cut to 64 bytes.
        action: ByteString,
    },
    /// `data` is missing, or it or a field has the wrong type.
    #[error("{}", data_fault(field))]
    Data {
        /// The action's name.
        action: &'static str,
        /// Where the fault is, such as `contacts[2].phone`; empty for `data` itself.
        field: String,
    },
    /// A key stands twice in one object.
    #[error("{} is there twice", shown(field))]
    Repeated {
        /// The action's name, cut to 64 bytes; if `action` is what stands twice, the first that is a string, or
        /// `unknown`.
        action: ByteString,
        /// Which key, such as `attach.mime`.
        field: String,
    },
}

fn data_fault(field: &str) -> String {
    if field.is_empty() {
        "data is missing, or is no object".to_owned()
    } else {
        format!("the field {field} is missing, too long or of the wrong type")
    }
}

/// A key in a sentence.
fn shown(key: &str) -> &str {
    if key.is_empty() { r#""""# } else { key }
}

impl BadRequest {
    /// The answer: status 3 with the action echoed. (An unknown action of a client that has not
    /// authenticated gets 6 instead; only the engine knows that.)
    pub fn response(&self) -> Response {
        let failure = Failure::new(ErrorCode::InvalidData, self.to_string());
        let action = match self {
            Self::NoAction => return Response::unknown(failure),
            Self::UnknownAction { action } | Self::Repeated { action, .. } => action.clone(),
            Self::Data { action, .. } => ByteString::from_static(action),
        };
        Response::failed(&action, failure.clone()).unwrap_or(Response::Unknown { action, failure })
    }
}

/// The frame is not JSON or not UTF-8: the stream is broken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not UTF-8.
    #[error("the frame is not UTF-8")]
    Utf8,
    /// Not JSON.
    #[error("the frame is not JSON")]
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Inbound {
    /// A request without `cid` and `sid`, as on an authenticated connection.
    pub fn new(request: impl Into<Request>) -> Self {
        Self {
            credentials: Credentials::default(),
            request: request.into(),
        }
    }

    /// In this session, which an unauthenticated connection resumes. On any other they are not looked at.
    #[inline]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Reads one frame, which shares its bytes with what is read.
    ///
    /// The inner result tells a request from a well-formed frame that is none.
    ///
    /// # Errors
    /// The frame is not JSON or not UTF-8.
    pub fn decode(frame: bytes::Bytes) -> Result<Result<Self, BadRequest>, ParseError> {
        let frame = ByteString::try_from(frame).map_err(|_| ParseError::Utf8)?;
        Self::read(&frame, Some(&frame))
    }

    /// Reads one frame out of a buffer, copying the text.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    #[inline]
    pub fn decode_slice(frame: &[u8]) -> Result<Result<Self, BadRequest>, ParseError> {
        let frame = std::str::from_utf8(frame).map_err(|_| ParseError::Utf8)?;
        Self::read(frame, None)
    }

    #[inline]
    fn read(text: &str, frame: FrameBytes<'_>) -> Result<Result<Self, BadRequest>, ParseError> {
        let mut plain = Plain::text(text);
        match message::read_plain(&mut plain, frame) {
            Some(inbound) if plain.left() == 0 => Ok(Ok(inbound)),
            _ => Self::parse(text, frame),
        }
    }

    /// Reads the frame that a buffer begins with if it is a message in the usual form: then nobody has to look
    /// for its end first.
    #[inline]
    pub(crate) fn read_first(buffer: &mut Plain<'_>) -> Option<Self> {
        message::read_plain(buffer, None)
    }

    /// Reads one frame out of a buffer that was found not to begin with a message in the usual form.
    pub(crate) fn parse_slice(frame: &[u8]) -> Result<Result<Self, BadRequest>, ParseError> {
        let text = std::str::from_utf8(frame).map_err(|_| ParseError::Utf8)?;
        Self::parse(text, None)
    }

    fn parse(text: &str, frame: FrameBytes<'_>) -> Result<Result<Self, BadRequest>, ParseError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let parsed = deserializer
            .deserialize_map(EnvelopeVisitor { frame })
            .and_then(|inbound| deserializer.end().map(|()| inbound));
        match parsed {
            Ok(inbound) => Ok(Ok(inbound)),
            Err(_) => explain(text).map(Err),
        }
    }

    /// Reads `data`, whose action is `R`.
    pub(crate) fn read_data<'de, R: Action + Fields, D: Deserializer<'de>>(
        frame: FrameBytes<'_>,
        data: D,
    ) -> Result<Self, D::Error> {
        let visitor = DataVisitor::<R> {
            frame,
            request: PhantomData,
        };
        // Whatever it is: an empty list is an object as well.
        let (credentials, request) = data.deserialize_any(visitor)?;
        Ok(Self {
            credentials,
            request: request.into(),
        })
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut, escapes: impl Into<Escapes>) {
        let escapes = escapes.into();
        object(out, escapes, |frame| {
            frame.text(key!("action"), self.request.action());
            frame.object(key!("data"), |data| {
                self.request.write(data);
                let Credentials { cid, sid, .. } = &self.credentials;
                if !cid.is_empty() {
                    data.text(key!("cid"), cid.as_str());
                }
                if !sid.is_empty() {
                    data.text(key!("sid"), sid.as_str());
                }
            });
        });
    }
}

/// Reads `action` and `data` in one pass when they come in that order, as they do in practice.
struct EnvelopeVisitor<'f> {
    frame: FrameBytes<'f>,
}

impl<'de> Visitor<'de> for EnvelopeVisitor<'_> {
    type Value = Inbound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an action and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inbound, A::Error> {
        let mut action: Option<RequiredStr<'de>> = None;
        let mut raw: Option<&'de RawValue> = None;
        let mut inbound = None;
        let mut others = Keys::default();
        while let Some(key) = map.next_key::<RequiredStr<'de>>()? {
            match key.as_str() {
                "action" if action.is_some() => return Err(Error::custom(Repeated("action"))),
                "action" => action = Some(map.next_value()?),
                "data" if raw.is_some() || inbound.is_some() => {
                    return Err(Error::custom(Repeated("data")));
                }
                "data" => match &action {
                    Some(name) => inbound = Some(map.next_value_seed(self.data(name.as_str()))?),
                    None => raw = Some(map.next_value()?),
                },
                _ if !others.add(&key) => return Err(Error::custom(Repeated(key.as_str()))),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let action = action.ok_or_else(|| Error::missing_field("action"))?;
        match (inbound, raw) {
            (Some(inbound), _) => Ok(inbound),
            (None, Some(raw)) => self
                .data(action.as_str())
                .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
                .map_err(Error::custom),
            (None, None) => Err(Error::missing_field("data")),
        }
    }
}

impl EnvelopeVisitor<'_> {
    fn data<'s>(&'s self, action: &'s str) -> DataSeed<'s> {
        DataSeed {
            action,
            frame: self.frame,
        }
    }
}

struct DataSeed<'s> {
    action: &'s str,
    frame: FrameBytes<'s>,
}

impl<'de> DeserializeSeed<'de> for DataSeed<'_> {
    type Value = Inbound;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Inbound, D::Error> {
        read_request(self.action, self.frame, deserializer)
    }
}

/// Reads `data`: `cid` and `sid` for every action alike, the other fields as its action has them.
struct DataVisitor<'f, R> {
    frame: FrameBytes<'f>,
    request: PhantomData<R>,
}

impl<'de, R: Action + Fields> Visitor<'de> for DataVisitor<'_, R> {
    type Value = (Credentials, R);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut others = OtherFields {
            map,
            has_session: !SESSIONLESS.contains(&R::NAME),
            cid: None,
            sid: None,
            others: Keys::default(),
        };
        let data = R::Data::deserialize(MapAccessDeserializer::new(&mut others))?;
        Ok((others.credentials(self.frame), R::read(data, self.frame)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        self.visit_map(no_fields(list)?)
    }
}

/// The fields of `data` but for `cid` and `sid`, which stay here.
struct OtherFields<'de, A> {
    map: A,
    has_session: bool,
    cid: Option<Lenient<'de>>,
    sid: Option<Lenient<'de>>,
    others: Keys<'de>,
}

impl<A> OtherFields<'_, A> {
    fn credentials(self, frame: FrameBytes<'_>) -> Credentials {
        let [cid, sid] = [self.cid, self.sid].map(|field| match field {
            Some(field) => field.readable(),
            None => Some(Str::absent()),
        });
        let unreadable = match (&cid, &sid) {
            (None, _) => Some("cid"),
            (_, None) => Some("sid"),
            _ => None,
        };
        let (cid, sid) = (cid.unwrap_or_default(), sid.unwrap_or_default());
        Credentials {
            unreadable,
            ..Credentials::read(cid, sid, frame)
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OtherFields<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<RequiredStr<'de>>()? {
            let (name, field) = match key.as_str() {
                "cid" if self.has_session => ("cid", &mut self.cid),
                "sid" if self.has_session => ("sid", &mut self.sid),
                other if self.others.add(&key) => {
                    return seed.deserialize(other.into_deserializer()).map(Some);
                }
                other => return Err(Error::custom(Repeated(other))),
            };
            if field.is_some() {
                return Err(Error::custom(Repeated(name)));
            }
            *field = Some(self.map.next_value()?);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A key that stands twice, in serde's words.
struct Repeated<'k>(&'k str);

const REPEATED: &str = "duplicate field `";
const MISSING: &str = "missing field `";

impl fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REPEATED}{}`", cut(self.0))
    }
}

/// The name that an error tells behind these words. There is no other way: a `serde_json::Error` is a text.
fn named(error: &serde_json::Error, words: &str) -> Option<String> {
    let error = error.to_string();
    let (name, _) = error.strip_prefix(words)?.rsplit_once('`')?;
    Some(name.to_owned())
}

/// As much of a name as is echoed.
fn cut(name: &str) -> &str {
    let end = name.floor_char_boundary(ECHOED);
    name.get(..end).unwrap_or_default()
}

/// Says what is wrong with a frame that did not parse. Takes its time: it is not the usual case.
fn explain(text: &str) -> Result<BadRequest, ParseError> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| ParseError::Json(error.into()))?;
    let Ok(envelope) = serde_json::from_str::<RawEnvelope<'_>>(text) else {
        return Ok(BadRequest::NoAction);
    };
    if envelope.actions > 1 {
        let name = envelope.action.as_deref().unwrap_or(UNKNOWN);
        return Ok(BadRequest::Repeated {
            action: cut(name).into(),
            field: "action".to_owned(),
        });
    }
    let Some(name) = envelope.action else {
        return Ok(BadRequest::NoAction);
    };
    let Some(action) = known(&name) else {
        let action = cut(&name).into();
        return Ok(BadRequest::UnknownAction { action });
    };
    if let Some(field) = envelope.repeated {
        let action = action.into();
        return Ok(BadRequest::Repeated { action, field });
    }
    let data = envelope.data.map(RawValue::get).unwrap_or_default();
    Ok(explain_data(action, data))
}

fn explain_data(action: &'static str, data: &str) -> BadRequest {
    let mut deserializer = serde_json::Deserializer::from_str(data);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let Err(error) = read_request(action, None, tracked) else {
        let field = String::new();
        return BadRequest::Data { action, field };
    };
    let place = match track.path().to_string() {
        place if place == "." => String::new(),
        place => place,
    };
    let within = |name: String| match place.is_empty() {
        true => name,
        false => format!("{place}.{name}"),
    };
    if let Some(name) = named(&error, REPEATED) {
        let (action, field) = (action.into(), within(name));
        return BadRequest::Repeated { action, field };
    }
    let field = named(&error, MISSING).map_or_else(|| place.clone(), within);
    BadRequest::Data { action, field }
}

/// An object's first `action` that is a string, its first `data`, and a key that stands twice.
#[derive(Default)]
struct RawEnvelope<'a> {
    action: Option<String>,
    actions: usize,
    data: Option<&'a RawValue>,
    repeated: Option<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawEnvelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawEnvelopeVisitor;
        impl<'de> Visitor<'de> for RawEnvelopeVisitor {
            type Value = RawEnvelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = RawEnvelope::default();
                let mut others = Keys::default();
                while let Some(key) = map.next_key::<RequiredStr<'de>>()? {
                    let value = map.next_value::<&'de RawValue>()?;
                    match key.as_str() {
                        "action" => envelope.add_action(value.get()),
                        "data" if envelope.data.is_none() => envelope.data = Some(value),
                        other if other == "data" || !others.add(&key) => {
                            let repeated = || cut(other).to_owned();
                            envelope.repeated.get_or_insert_with(repeated);
                        }
                        _ => {}
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(RawEnvelopeVisitor)
    }
}

impl RawEnvelope<'_> {
    fn add_action(&mut self, value: &str) {
        self.actions += 1;
        let name = self.action.take();
        self.action = name.or_else(|| serde_json::from_str(value).ok());
    }
}
