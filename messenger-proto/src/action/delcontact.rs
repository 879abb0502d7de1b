//! `delcontact`: one user fewer in the caller's contact list.

use super::Wire;
use crate::read::{Owner, RequiredStr, Str};
use crate::write::{Object, key};
use crate::{Credentials, UserId};
use serde::Deserialize;

/// Removes a user from the caller's contact list; one that is not there is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelContact {
    /// Whom to remove.
    pub uid: UserId,
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    uid: RequiredStr<'a>,
    #[serde(borrow, default)]
    cid: Str<'a>,
    #[serde(borrow, default)]
    sid: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    uid: Str<'a>,
}

impl Wire for DelContact {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = AcceptedData<'a>;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let request = Self {
            uid: data.uid.as_str().into(),
        };
        (Credentials::read(data.cid, data.sid, frame), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("uid"), self.uid.as_str());
    }

    fn read_accepted(data: AcceptedData<'_>, _: Owner<'_>) -> UserId {
        data.uid.id()
    }

    fn write_accepted(accepted: Option<&UserId>, data: &mut Object<'_>) {
        data.text(key!("uid"), accepted.map_or("", UserId::as_str));
    }
}
