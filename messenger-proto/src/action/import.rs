//! `import`: which people of an address book are users.

use super::Fields;
use crate::read::{FrameBytes, Lenient, List, Str};
use crate::write::{Object, key};
use bytestring::ByteString;
use serde::Deserialize;

/// The most entries that are read at all; the engine allows fewer.
const ENTRIES: usize = 65_536;

/// Finds users by an address book. It adds nobody to the contact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// The address book.
    pub contacts: Vec<ImportEntry>,
}

impl Import {
    /// Finds users by these entries.
    pub fn new(contacts: impl Into<Vec<ImportEntry>>) -> Self {
        Self {
            contacts: contacts.into(),
        }
    }
}

/// One person of an address book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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

impl ImportEntry {
    /// A person with neither phone nor email.
    pub fn new(myid: impl Into<ByteString>) -> Self {
        Self {
            myid: myid.into(),
            ..Self::default()
        }
    }

    /// With this name in the address book.
    pub fn name(mut self, name: impl Into<ByteString>) -> Self {
        self.name = name.into();
        self
    }

    /// With this phone number.
    pub fn phone(mut self, phone: impl Into<ByteString>) -> Self {
        self.phone = phone.into();
        self
    }

    /// With this email address.
    pub fn email(mut self, email: impl Into<ByteString>) -> Self {
        self.email = email.into();
        self
    }
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    contacts: List<EntryData<'a>, ENTRIES>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EntryData<'a> {
    #[serde(borrow)]
    myid: Str<'a>,
    #[serde(borrow)]
    name: Lenient<'a>,
    #[serde(borrow)]
    phone: Lenient<'a>,
    #[serde(borrow)]
    email: Lenient<'a>,
}

/// What an address book holds comes from elsewhere: what cannot be read matches nobody, and the entry is looked for by
/// its other field.
fn searched(field: Lenient<'_>, frame: FrameBytes<'_>) -> ByteString {
    field.readable().unwrap_or_default().or_empty(frame)
}

impl Fields for Import {
    type Data<'a> = Data<'a>;

    fn read(data: Data<'_>, frame: FrameBytes<'_>) -> Self {
        let entries = data.contacts.0.into_iter();
        Self {
            contacts: entries
                .map(|entry| ImportEntry {
                    myid: entry.myid.or_empty(frame),
                    name: searched(entry.name, frame),
                    phone: searched(entry.phone, frame),
                    email: searched(entry.email, frame),
                })
                .collect(),
        }
    }

    fn write(&self, data: &mut Object<'_>) {
        data.objects(key!("contacts"), &self.contacts, |object, entry| {
            object.text(key!("myid"), &entry.myid);
            object.text(key!("name"), &entry.name);
            object.text(key!("phone"), &entry.phone);
            object.text(key!("email"), &entry.email);
        });
    }
}
