//! `contactlist`: the caller's contacts.

use super::Wire;
use crate::contact::{ContactData, write_contacts};
use crate::read::{Obj, Owner, Str};
use crate::write::Object;
use crate::{Contact, Credentials};
use serde::Deserialize;

/// Asks for the caller's contacts, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactList {}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    cid: Str<'a>,
    #[serde(borrow)]
    sid: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    list: Vec<Obj<ContactData<'a>>>,
}

impl Wire for ContactList {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = AcceptedData<'a>;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        (Credentials::read(data.cid, data.sid, frame), Self {})
    }

    fn write(&self, _: &mut Object<'_>) {}

    fn read_accepted(data: AcceptedData<'_>, frame: Owner<'_>) -> Vec<Contact> {
        let contacts = data.list.into_iter();
        contacts.map(|Obj(contact)| contact.read(frame)).collect()
    }

    fn write_accepted(accepted: Option<&Vec<Contact>>, data: &mut Object<'_>) {
        write_contacts(data, accepted);
    }
}
