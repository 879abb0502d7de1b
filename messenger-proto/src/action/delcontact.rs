//! `delcontact`: one user fewer in the caller's contact list.

use super::Fields;
use crate::UserId;
use crate::read::{FrameBytes, RequiredStr, Str};
use crate::write::{Object, key};
use serde::Deserialize;

/// Removes a user from the caller's contact list; one that is not there is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelContact {
    /// Whom to remove.
    pub uid: UserId,
}

impl DelContact {
    /// Removes this user.
    pub fn new(uid: impl Into<UserId>) -> Self {
        Self { uid: uid.into() }
    }
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    uid: RequiredStr<'a>,
}

impl Fields for DelContact {
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
    uid: Str<'a>,
}

/// Whom was removed, as `uid`.
impl Fields for UserId {
    type Data<'a> = AcceptedData<'a>;

    fn read(data: AcceptedData<'_>, _: FrameBytes<'_>) -> Self {
        data.uid.id()
    }

    fn write(&self, data: &mut Object<'_>) {
        data.text(key!("uid"), self.as_str());
    }
}
