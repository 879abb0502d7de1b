//! Answers with long lists of users, encoded some at a time.

use crate::contact::Contact;
use crate::write::{Escapes, Object, key, object};
use crate::{Action, ContactList, Import, Response};
use bytes::BytesMut;
use std::vec;

/// An answer with a list of users, on its way to bytes. It is encoded some at a time, as whoever sends it has room,
/// and what was encoded is kept no longer: a list with pictures may have many megabytes.
///
/// ```
/// use bytes::BytesMut;
/// use messenger_proto::{Action, Braces, Card, Contact, ContactList};
///
/// let contacts = ["ann", "bob"].map(|uid| Contact::new(Card::new(uid, uid)));
/// let response = ContactList::response(Ok(contacts.to_vec()));
/// let (mut at_once, mut in_pieces) = (BytesMut::new(), BytesMut::new());
/// response.encode(&mut at_once, Braces::Escaped);
///
/// let mut list = response.into_list().expect("it is one");
/// while list.encode_some(1, &mut in_pieces, Braces::Escaped) {}
/// assert_eq!(at_once, in_pieces);
/// ```
#[derive(Debug)]
pub struct ListResponse {
    action: &'static str,
    contacts: vec::IntoIter<Contact>,
    next: Next,
    /// The texts of what is still to come.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Head,
    First,
    Another,
    Nothing,
}

impl Response {
    /// The answer as a list of users.
    ///
    /// # Errors
    /// The answer, if it is none, or a failure.
    #[expect(clippy::result_large_err)] // it is given back, not reported
    pub fn into_list(self) -> Result<ListResponse, Self> {
        match self {
            Self::ContactList(Ok(contacts)) => Ok(ListResponse::new(ContactList::NAME, contacts)),
            Self::Import(Ok(contacts)) => Ok(ListResponse::new(Import::NAME, contacts)),
            other => Err(other),
        }
    }

    /// About how many bytes the answer has, if it is a list of users.
    pub fn list_len(&self) -> Option<usize> {
        match self {
            Self::ContactList(Ok(contacts)) | Self::Import(Ok(contacts)) => {
                Some(contacts.iter().map(Contact::text_len).sum())
            }
            _ => None,
        }
    }
}

impl ListResponse {
    fn new(action: &'static str, contacts: Vec<Contact>) -> Self {
        Self {
            action,
            bytes: contacts.iter().map(Contact::text_len).sum(),
            contacts: contacts.into_iter(),
            next: Next::Head,
        }
    }

    /// About how many bytes are still to come.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True when everything was encoded.
    pub fn is_empty(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Appends so many bytes to `out`, and the rest of the user that passes that mark. False when that was all.
    pub fn encode_some(
        &mut self,
        at_least: usize,
        out: &mut BytesMut,
        escapes: impl Into<Escapes>,
    ) -> bool {
        let escapes = escapes.into();
        let end = out.len().saturating_add(at_least);
        while out.len() < end && self.next != Next::Nothing {
            self.encode_next(out, escapes);
        }
        !self.is_empty()
    }

    fn encode_next(&mut self, out: &mut BytesMut, escapes: Escapes) {
        if self.next == Next::Head {
            out.extend_from_slice(br#"{"action":""#);
            out.extend_from_slice(self.action.as_bytes());
            out.extend_from_slice(br#"","data":{"status":0,"error":"OK""#);
            Object::resume(out, escapes).open_list(key!("list"));
            self.next = Next::First;
            return;
        }
        let Some(contact) = self.contacts.next() else {
            out.extend_from_slice(b"]}}");
            self.next = Next::Nothing;
            return;
        };
        if self.next == Next::Another {
            out.extend_from_slice(b",");
        }
        object(out, escapes, |object| contact.write_fields(object));
        self.bytes = self.bytes.saturating_sub(contact.text_len());
        self.next = Next::Another;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Braces, Card, ErrorCode, Failure};

    fn contacts(count: usize) -> Vec<Contact> {
        let contacts = (0..count).map(|number| {
            let card = Card::new(format!("user{number}"), ":-} \"").picture("A".repeat(100));
            Contact::new(card).myid(number.to_string())
        });
        contacts.collect()
    }

    #[test]
    fn in_pieces_it_is_the_same_as_at_once() {
        for count in [0, 1, 3, 50] {
            for response in [ContactList::response, Import::response] {
                let response = response(Ok(contacts(count)));
                let mut at_once = BytesMut::new();
                response.encode(&mut at_once, Braces::Escaped);
                for piece in [1, 200, usize::MAX] {
                    let mut list = response.clone().into_list().unwrap();
                    assert_eq!(Some(list.len()), response.list_len());
                    let mut pieces = BytesMut::new();
                    while list.encode_some(piece, &mut pieces, Braces::Escaped) {}
                    assert_eq!(pieces, at_once);
                    assert!(list.is_empty() && list.len() == 0);
                }
            }
        }
    }

    #[test]
    fn a_piece_is_no_larger_than_asked_for_and_a_user() {
        let mut list = ContactList::response(Ok(contacts(50))).into_list().unwrap();
        let mut piece = BytesMut::new();
        while list.encode_some(1000, &mut piece, Braces::Escaped) {
            assert!(piece.len() < 1000 + 300, "{}", piece.len());
            piece.clear();
        }
    }

    #[test]
    fn nothing_else_is_a_list() {
        let failure = Failure::new(ErrorCode::NeedAuth, "Authenticate first");
        let failed = ContactList::fail(failure);
        assert_eq!(failed.clone().into_list().unwrap_err(), failed);
        assert_eq!(failed.list_len(), None);
    }
}
