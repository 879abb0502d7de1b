//! `addcontact`: one more user in the caller's contact list.

use super::Fields;
use crate::contact::CardData;
use crate::read::{FrameBytes, Obj, RequiredStr};
use crate::write::{Object, key};
use crate::{Card, UserId};
use serde::Deserialize;

/// Adds a user to the caller's contact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddContact {
    /// Whom to add.
    pub uid: UserId,
}

impl AddContact {
    /// Adds this user.
    pub fn new(uid: impl Into<UserId>) -> Self {
        Self { uid: uid.into() }
    }
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    uid: RequiredStr<'a>,
}

impl Fields for AddContact {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, _: FrameBytes<'_>) -> Self {
        Self::new(data.uid.as_str())
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("uid"), self.uid.as_str());
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    user: Obj<CardData<'a>>,
}

/// Whom was added, as `user`.
impl Fields for Card {
    type Data<'a> = AcceptedData<'a>;

    fn read(data: AcceptedData<'_>, frame: FrameBytes<'_>) -> Self {
        data.user.0.read(frame)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.object(key!("user"), |user| self.write_fields(user));
    }
}
