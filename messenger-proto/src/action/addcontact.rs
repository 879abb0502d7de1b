//! `addcontact`: one more user in the caller's contact list.

use super::Wire;
use crate::contact::CardData;
use crate::read::{Obj, Owner, RequiredStr, Str};
use crate::write::{Object, key};
use crate::{Card, Credentials, UserId};
use serde::Deserialize;

/// Adds a user to the caller's contact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddContact {
    /// Whom to add.
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
    user: Obj<CardData<'a>>,
}

impl Wire for AddContact {
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

    fn read_accepted(data: AcceptedData<'_>, frame: Owner<'_>) -> Card {
        data.user.0.read(frame)
    }

    fn write_accepted(accepted: Option<&Card>, data: &mut Object<'_>) {
        let none = Card::default();
        data.object(key!("user"), |user| accepted.unwrap_or(&none).write(user));
    }
}
