//! `auth`: a login and a password for a new session.

use super::Fields;
use crate::read::{FrameBytes, Str, Texts};
use crate::write::{Object, key};
use crate::{Password, SessionId, UserId};
use bytestring::ByteString;
use serde::Deserialize;

/// The feature by which a client says that it acknowledges what it has processed.
const ACK: &str = "ack";

/// The feature by which a client asks for a session that ends with its connection.
const EPHEMERAL: &str = "ephemeral";

/// The most features that are read.
const FEATURES: usize = 64;

/// Authenticates the connection and begins a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Auth {
    /// The login.
    pub login: ByteString,
    /// The password as it was sent in `register`.
    pub pass: Password,
    /// True when the client will send `ack` for what it has processed (`"features":["ack"]`).
    pub ack: bool,
    /// True when the session is to end with its connection (`"features":["ephemeral"]`).
    pub ephemeral: bool,
}

impl Auth {
    /// A session for this login, whose messages count as given when they are sent.
    pub fn new(login: impl Into<ByteString>, pass: impl Into<Password>) -> Self {
        Self {
            login: login.into(),
            pass: pass.into(),
            ack: false,
            ephemeral: false,
        }
    }

    /// By a client that will send `ack` for what it has processed.
    pub fn ack(mut self) -> Self {
        self.ack = true;
        self
    }

    /// For a session that ends with its connection and counts among no limit of sessions.
    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }
}

/// The session that began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthAccepted {
    /// The session's secret, to resume it with; empty when it ends with its connection.
    pub sid: SessionId,
    /// The user's id.
    pub uid: UserId,
    /// The user's nick.
    pub nick: ByteString,
}

impl AuthAccepted {
    /// This session of this user.
    pub fn new(
        sid: impl Into<SessionId>,
        uid: impl Into<UserId>,
        nick: impl Into<ByteString>,
    ) -> Self {
        Self {
            sid: sid.into(),
            uid: uid.into(),
            nick: nick.into(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    login: Str<'a>,
    #[serde(borrow)]
    pass: Str<'a>,
    #[serde(borrow)]
    features: Option<Texts<'a, FEATURES>>,
}

impl Fields for Auth {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, frame: FrameBytes<'_>) -> Self {
        let features = data.features.unwrap_or_default();
        Self {
            login: data.login.or_empty(frame),
            pass: data.pass.or_empty(frame).into(),
            ack: features.has(ACK),
            ephemeral: features.has(EPHEMERAL),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("login"), &self.login);
        data.text(key!("pass"), self.pass.as_str());
        let features = [(self.ack, ACK), (self.ephemeral, EPHEMERAL)];
        let mut asked = features
            .into_iter()
            .filter_map(|(is_asked, feature)| is_asked.then_some(feature))
            .peekable();
        if asked.peek().is_some() {
            data.texts(key!("features"), asked);
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    sid: Str<'a>,
    #[serde(borrow)]
    uid: Str<'a>,
    #[serde(borrow)]
    nick: Str<'a>,
}

impl Fields for AuthAccepted {
    type Data<'a> = AcceptedData<'a>;

    fn read(data: AcceptedData<'_>, frame: FrameBytes<'_>) -> Self {
        Self {
            sid: data.sid.or_empty(frame).into(),
            uid: data.uid.id(),
            nick: data.nick.or_empty(frame),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("sid"), self.sid.as_str());
        data.text(key!("uid"), self.uid.as_str());
        // The deployed server's name for the uid; its clients look for either.
        data.text(key!("cid"), self.uid.as_str());
        data.text(key!("nick"), &self.nick);
    }
}
