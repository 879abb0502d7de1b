//! `userinfo`: what a user tells of themselves.

use super::Wire;
use crate::read::{Owner, RequiredStr, Str};
use crate::write::{Object, key};
use crate::{Credentials, Profile, UserId};
use serde::Deserialize;

/// Asks for a user's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// Whose profile.
    pub user: UserId,
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    user: RequiredStr<'a>,
    #[serde(borrow, default)]
    cid: Str<'a>,
    #[serde(borrow, default)]
    sid: Str<'a>,
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

impl Wire for UserInfo {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = AcceptedData<'a>;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let request = Self {
            user: data.user.as_str().into(),
        };
        (Credentials::read(data.cid, data.sid, frame), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("user"), self.user.as_str());
    }

    fn read_accepted(data: AcceptedData<'_>, frame: Owner<'_>) -> Profile {
        Profile {
            nick: data.nick.or_empty(frame),
            email: data.email.or_empty(frame),
            phone: data.phone.or_empty(frame),
            picture: data.picture.or_empty(frame),
            user_status: data.user_status.or_empty(frame),
        }
    }

    fn write_accepted(accepted: Option<&Profile>, data: &mut Object<'_>) {
        let none = Profile::default();
        let profile = accepted.unwrap_or(&none);
        data.text(key!("nick"), &profile.nick);
        data.text(key!("email"), &profile.email);
        data.text(key!("phone"), &profile.phone);
        data.text(key!("picture"), &profile.picture);
        data.text(key!("user_status"), &profile.user_status);
    }
}
