//! Users as others see them.

use crate::UserId;
use crate::fields::Fields;
use crate::read::{FrameBytes, Obj, Str};
use crate::write::{Object, escaped_len, key};
use bytestring::ByteString;
use serde::Deserialize;

/// What `userinfo` tells of a user. Fields that were never set are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The name others see.
    pub nick: ByteString,
    /// The email address.
    pub email: ByteString,
    /// The phone number as the user wrote it.
    pub phone: ByteString,
    /// A small picture as base64 text.
    pub picture: ByteString,
    /// A line about the user's state of mind.
    pub user_status: ByteString,
}

impl Profile {
    /// A user of whom the nick is all that is known.
    pub fn new(nick: impl Into<ByteString>) -> Self {
        Self {
            nick: nick.into(),
            ..Self::default()
        }
    }

    /// With this email address.
    pub fn email(mut self, email: impl Into<ByteString>) -> Self {
        self.email = email.into();
        self
    }

    /// With this phone number.
    pub fn phone(mut self, phone: impl Into<ByteString>) -> Self {
        self.phone = phone.into();
        self
    }

    /// With this picture.
    pub fn picture(mut self, picture: impl Into<ByteString>) -> Self {
        self.picture = picture.into();
        self
    }

    /// With this line about the state of mind.
    pub fn user_status(mut self, user_status: impl Into<ByteString>) -> Self {
        self.user_status = user_status.into();
        self
    }
}

/// A user in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Card {
    /// Who.
    pub uid: UserId,
    /// The name others see.
    pub nick: ByteString,
    /// The email address, empty when unset.
    pub email: ByteString,
    /// The phone number, empty when unset.
    pub phone: ByteString,
    /// A small picture as base64 text, empty when unset.
    pub picture: ByteString,
}

impl Card {
    /// A user of whom the nick is all that is known.
    pub fn new(uid: impl Into<UserId>, nick: impl Into<ByteString>) -> Self {
        Self {
            uid: uid.into(),
            nick: nick.into(),
            ..Self::default()
        }
    }

    /// With this email address.
    pub fn email(mut self, email: impl Into<ByteString>) -> Self {
        self.email = email.into();
        self
    }

    /// With this phone number.
    pub fn phone(mut self, phone: impl Into<ByteString>) -> Self {
        self.phone = phone.into();
        self
    }

    /// With this picture.
    pub fn picture(mut self, picture: impl Into<ByteString>) -> Self {
        self.picture = picture.into();
        self
    }

    pub(crate) fn write_fields(&self, user: &mut Object<'_>) {
        user.text(key!("uid"), self.uid.as_str());
        user.text(key!("nick"), &self.nick);
        user.text(key!("email"), &self.email);
        user.text(key!("phone"), &self.phone);
        user.text(key!("picture"), &self.picture);
    }
}

/// A user in somebody's contact list or among the users an import found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact {
    /// The caller's own id for the person, from its last import; empty when there was none.
    pub myid: ByteString,
    /// The user.
    pub card: Card,
}

/// What stands around a user's texts in a list: keys, quotes and separators.
const AROUND: usize = 64;

impl Contact {
    /// This user, whom the caller has not imported.
    pub fn new(card: Card) -> Self {
        Self {
            myid: ByteString::new(),
            card,
        }
    }

    /// Under this id of the caller's own.
    pub fn myid(mut self, myid: impl Into<ByteString>) -> Self {
        self.myid = myid.into();
        self
    }

    /// The bytes of its texts, and of what stands around them in a list, without regard to escapes.
    pub(crate) fn text_len(&self) -> usize {
        let card = &self.card;
        let texts = [
            &*self.myid,
            card.uid.as_str(),
            &card.nick,
            &card.email,
            &card.phone,
            &card.picture,
        ];
        AROUND + texts.into_iter().map(str::len).sum::<usize>()
    }

    pub(crate) fn write_fields(&self, object: &mut Object<'_>) {
        object.text(key!("myid"), &self.myid);
        self.card.write_fields(object);
    }

    /// The bytes it takes in a list, braces escaped.
    pub fn encoded_len(&self) -> usize {
        let Card {
            uid,
            nick,
            email,
            phone,
            picture,
        } = &self.card;
        let texts = [&*self.myid, uid.as_str(), nick, email, phone, picture];
        let texts = texts.into_iter().map(escaped_len);
        AROUND + texts.sum::<usize>()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CardData<'a> {
    #[serde(borrow)]
    uid: Str<'a>,
    #[serde(borrow)]
    nick: Str<'a>,
    #[serde(borrow)]
    email: Str<'a>,
    #[serde(borrow)]
    phone: Str<'a>,
    #[serde(borrow)]
    picture: Str<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContactData<'a> {
    #[serde(borrow)]
    myid: Str<'a>,
    #[serde(borrow)]
    uid: Str<'a>,
    #[serde(borrow)]
    nick: Str<'a>,
    #[serde(borrow)]
    email: Str<'a>,
    #[serde(borrow)]
    phone: Str<'a>,
    #[serde(borrow)]
    picture: Str<'a>,
}

impl CardData<'_> {
    pub(crate) fn read(self, frame: FrameBytes<'_>) -> Card {
        Card {
            uid: self.uid.id(),
            nick: self.nick.or_empty(frame),
            email: self.email.or_empty(frame),
            phone: self.phone.or_empty(frame),
            picture: self.picture.or_empty(frame),
        }
    }
}

impl ContactData<'_> {
    fn read(self, frame: FrameBytes<'_>) -> Contact {
        let card = CardData {
            uid: self.uid,
            nick: self.nick,
            email: self.email,
            phone: self.phone,
            picture: self.picture,
        };
        Contact {
            myid: self.myid.or_empty(frame),
            card: card.read(frame),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContactsData<'a> {
    #[serde(borrow)]
    list: Vec<Obj<ContactData<'a>>>,
}

/// Users, as `list`.
impl Fields for Vec<Contact> {
    type Data<'a> = ContactsData<'a>;

    fn read(data: ContactsData<'_>, frame: FrameBytes<'_>) -> Self {
        let contacts = data.list.into_iter();
        contacts.map(|Obj(contact)| contact.read(frame)).collect()
    }

    fn write(&self, data: &mut Object<'_>) {
        data.objects(key!("list"), self, |object, contact| {
            contact.write_fields(object);
        });
    }
}
