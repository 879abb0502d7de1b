//! `setuserinfo`: changes to the caller's own profile.

use super::Fields;
use crate::read::{FrameBytes, Str};
use crate::write::{Object, key};
use bytestring::ByteString;
use serde::Deserialize;

/// Changes the fields that are present; a present and empty one clears, an absent one stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetUserInfo {
    /// A line about the user's state of mind.
    pub user_status: Option<ByteString>,
    /// The email address.
    pub email: Option<ByteString>,
    /// The phone number.
    pub phone: Option<ByteString>,
    /// A small picture as base64 text.
    pub picture: Option<ByteString>,
}

impl SetUserInfo {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the line about the state of mind; empty clears it.
    pub fn user_status(mut self, user_status: impl Into<ByteString>) -> Self {
        self.user_status = Some(user_status.into());
        self
    }

    /// Sets the email address; empty clears it.
    pub fn email(mut self, email: impl Into<ByteString>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// Sets the phone number; empty clears it.
    pub fn phone(mut self, phone: impl Into<ByteString>) -> Self {
        self.phone = Some(phone.into());
        self
    }

    /// Sets the picture; empty clears it.
    pub fn picture(mut self, picture: impl Into<ByteString>) -> Self {
        self.picture = Some(picture.into());
        self
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    user_status: Str<'a>,
    #[serde(borrow)]
    email: Str<'a>,
    #[serde(borrow)]
    phone: Str<'a>,
    #[serde(borrow)]
    picture: Str<'a>,
}

impl Fields for SetUserInfo {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, frame: FrameBytes<'_>) -> Self {
        Self {
            user_status: data.user_status.text(frame),
            email: data.email.text(frame),
            phone: data.phone.text(frame),
            picture: data.picture.text(frame),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        let fields = [
            (key!("user_status"), &self.user_status),
            (key!("email"), &self.email),
            (key!("phone"), &self.phone),
            (key!("picture"), &self.picture),
        ];
        for (key, value) in fields {
            if let Some(value) = value {
                data.text(key, value);
            }
        }
    }
}
