//! `register`: a new account. It does not authenticate the connection.

use super::Fields;
use crate::Password;
use crate::read::{FrameBytes, Str};
use crate::write::{Object, key};
use bytestring::ByteString;
use serde::Deserialize;

/// Creates an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// The login, which is the new user's id.
    pub login: ByteString,
    /// The password as the client will send it in `auth`.
    pub pass: Password,
    /// The name others see; it is taken by one user at a time.
    pub nick: ByteString,
}

impl Register {
    /// An account with this login, password and nick.
    pub fn new(
        login: impl Into<ByteString>,
        pass: impl Into<Password>,
        nick: impl Into<ByteString>,
    ) -> Self {
        Self {
            login: login.into(),
            pass: pass.into(),
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
    nick: Str<'a>,
}

impl Fields for Register {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, frame: FrameBytes<'_>) -> Self {
        Self {
            login: data.login.or_empty(frame),
            pass: data.pass.or_empty(frame).into(),
            nick: data.nick.or_empty(frame),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("login"), &self.login);
        data.text(key!("pass"), self.pass.as_str());
        data.text(key!("nick"), &self.nick);
    }
}
