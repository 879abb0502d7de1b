//! `userinfo`: what a user tells of themselves.

use super::Fields;
use crate::read::{FrameBytes, RequiredStr, Str};
use crate::write::{Object, key};
use crate::{Profile, UserId};
use serde::Deserialize;

/// Asks for a user's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserInfo {
    /// Whose profile.
    pub user: UserId,
}

impl UserInfo {
    /// Asks for this user's profile.
    pub fn new(user: impl Into<UserId>) -> Self {
        Self { user: user.into() }
    }
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    user: RequiredStr<'a>,
}

impl Fields for UserInfo {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, _: FrameBytes<'_>) -> Self {
        Self::new(data.user.as_str())
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("user"), self.user.as_str());
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    nick: Str<'a>,
    #[serde(borrow)]
    email: Str<'a>,
    #[serde(borrow)]
    phone: Str<'a>,
    #[serde(borrow)]
    picture: Str<'a>,
    #[serde(borrow)]
    user_status: Str<'a>,
}

impl Fields for Profile {
    type Data<'a> = AcceptedData<'a>;

    fn read(data: AcceptedData<'_>, frame: FrameBytes<'_>) -> Self {
        Self {
            nick: data.nick.or_empty(frame),
            email: data.email.or_empty(frame),
            phone: data.phone.or_empty(frame),
            picture: data.picture.or_empty(frame),
            user_status: data.user_status.or_empty(frame),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("nick"), &self.nick);
        data.text(key!("email"), &self.email);
        data.text(key!("phone"), &self.phone);
        data.text(key!("picture"), &self.picture);
        data.text(key!("user_status"), &self.user_status);
    }
}
