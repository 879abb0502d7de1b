//! `register`: a new account. It does not authenticate the connection.

use super::Wire;
use crate::read::{Owner, Str};
use crate::write::{Object, key};
use crate::{Credentials, Password};
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Creates an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// The login, which is the new user's id.
    pub login: ByteString,
    /// The password as the client will send it in `auth`.
    pub pass: Password,
    /// The name others see; it is taken by one user at a time.
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
    nick: Str<'a>,
}

impl Wire for Register {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = IgnoredAny;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let request = Self {
            login: data.login.or_empty(frame),
            pass: data.pass.or_empty(frame).into(),
            nick: data.nick.or_empty(frame),
        };
        (Credentials::default(), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("login"), &self.login);
        data.text(key!("pass"), self.pass.as_str());
        data.text(key!("nick"), &self.nick);
    }

    fn read_accepted(_: IgnoredAny, _: Owner<'_>) {}

    fn write_accepted(_: Option<&()>, _: &mut Object<'_>) {}
}
