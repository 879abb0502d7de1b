//! `contactlist`: whom a user has in the list.

use super::pictures;
use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{ByteString, Contact, ContactList, Failure};

impl Rule for ContactList {
    async fn carry_out(
        self,
        connection: &ConnectionState,
        login: &Login,
    ) -> Result<Vec<Contact>, Failure> {
        let shared = &*connection.shared;
        let mut contacts = shared.storage.contacts(login.user()).await?;
        let mut bytes = 0;
        for contact in &mut contacts {
            bytes += contact.encoded_len();
            if bytes > shared.policy.limits.list_bytes {
                contact.card.picture = ByteString::new();
            }
        }
        pictures::bound(&mut contacts, login, &shared.policy.limits);
        Ok(contacts)
    }
}
