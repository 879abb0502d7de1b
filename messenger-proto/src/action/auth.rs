//! `auth`: a login and a password for a new session.

use super::Wire;
use crate::read::{Owner, Str, Texts};
use crate::write::{Object, key};
use crate::{Credentials, Password, SessionId, UserId};
use bytestring::ByteString;
use serde::Deserialize;

/// The feature by which a client says that it acknowledges what it has processed.
const ACK: &str = "ack";

/// The most features that are read.
const FEATURES: usize = 64;

/// Authenticates the connection and begins a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// The login.
    pub login: ByteString,
    /// The password as it was sent in `register`.
    pub pass: Password,
    /// True when the client will send `ack` for what it has processed (`"features":["ack"]`).
    pub ack: bool,
}

/// The session that began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthAccepted {
    /// The session's secret, to resume it with.
    pub sid: SessionId,
    /// The user's id.
    pub uid: UserId,
    /// The user's nick.
    pub nick: ByteString,
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

impl Wire for Auth {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = AcceptedData<'a>;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let features = data.features.unwrap_or_default().0;
        let request = Self {
            login: data.login.or_empty(frame),
            pass: data.pass.or_empty(frame).into(),
            ack: features
                .into_iter()
                .any(|feature| feature.or_empty(frame) == ACK),
        };
        (Credentials::default(), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("login"), &self.login);
        data.text(key!("pass"), self.pass.as_str());
        if self.ack {
            data.texts(key!("features"), [ACK]);
        }
    }

    fn read_accepted(data: AcceptedData<'_>, frame: Owner<'_>) -> AuthAccepted {
        AuthAccepted {
            sid: data.sid.or_empty(frame).into(),
            uid: data.uid.id(),
            nick: data.nick.or_empty(frame),
        }
    }

    fn write_accepted(accepted: Option<&AuthAccepted>, data: &mut Object<'_>) {
        let none = AuthAccepted::default();
        let accepted = accepted.unwrap_or(&none);
        data.text(key!("sid"), accepted.sid.as_str());
        data.text(key!("uid"), accepted.uid.as_str());
        // The deployed server's name for the uid; its clients look for either.
        data.text(key!("cid"), accepted.uid.as_str());
        data.text(key!("nick"), &accepted.nick);
    }
}
