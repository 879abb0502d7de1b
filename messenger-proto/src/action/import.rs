//! `import`: which people of an address book are users.

use super::Wire;
use crate::contact::{ContactData, write_contacts};
use crate::read::{List, Obj, Owner, Str};
use crate::write::{Object, key};
use crate::{Contact, Credentials};
use bytestring::ByteString;
use serde::Deserialize;

/// The most entries that are read at all; the engine allows fewer.
const ENTRIES: usize = 65_536;

/// Finds users by an address book. It adds nobody to the contact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The address book.
    pub contacts: Vec<ImportEntry>,
}

/// One person of an address book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportEntry {
    /// The caller's own id for the person, given back with the users found.
    pub myid: ByteString,
    /// The name in the address book; it plays no part in the search.
    pub name: ByteString,
    /// The phone number, in any notation.
    pub phone: ByteString,
    /// The email address.
    pub email: ByteString,
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    contacts: List<EntryData<'a>, ENTRIES>,
    #[serde(borrow, default)]
    cid: Str<'a>,
    #[serde(borrow, default)]
    sid: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EntryData<'a> {
    #[serde(borrow)]
    myid: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    phone: Str<'a>,
    #[serde(borrow)]
    email: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptedData<'a> {
    #[serde(borrow)]
    list: Vec<Obj<ContactData<'a>>>,
}

impl Wire for Import {
    type Data<'a> = Data<'a>;
    type AcceptedData<'a> = AcceptedData<'a>;

    fn read(data: Data<'_>, frame: Owner<'_>) -> (Credentials, Self) {
        let entries = data.contacts.0.into_iter();
        let request = Self {
            contacts: entries
                .map(|entry| ImportEntry {
                    myid: entry.myid.or_empty(frame),
                    name: entry.name.or_empty(frame),
                    phone: entry.phone.or_empty(frame),
                    email: entry.email.or_empty(frame),
                })
                .collect(),
        };
        (Credentials::read(data.cid, data.sid, frame), request)
    }

    fn write(&self, data: &mut Object<'_>) {
        data.objects(key!("contacts"), &self.contacts, |object, entry| {
            object.text(key!("myid"), &entry.myid);
            object.text(key!("name"), &entry.name);
            object.text(key!("phone"), &entry.phone);
            object.text(key!("email"), &entry.email);
        });
    }

    fn read_accepted(data: AcceptedData<'_>, frame: Owner<'_>) -> Vec<Contact> {
        let contacts = data.list.into_iter();
        contacts.map(|Obj(contact)| contact.read(frame)).collect()
    }

    fn write_accepted(accepted: Option<&Vec<Contact>>, data: &mut Object<'_>) {
        write_contacts(data, accepted);
    }
}
