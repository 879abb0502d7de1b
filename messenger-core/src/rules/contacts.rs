//! `contactlist`, `addcontact`, `delcontact`: whom a user has in the list.

use super::userinfo::adopt;
use crate::engine::Shared;
use crate::session::Login;
use crate::storage::AddContactError;
use messenger_proto::{AddContact, ByteString, Card, Contact, DelContact, Failure, UserId};

pub(super) async fn list(shared: &Shared, login: &Login) -> Result<Vec<Contact>, Failure> {
    let mut contacts = shared.storage.contacts(login.user()).await?;
    let mut bytes = 0;
    for contact in &mut contacts {
        bytes += contact.encoded_len();
        if bytes > shared.policy.limits.list_bytes {
            contact.card.picture = ByteString::new();
        }
    }
    Ok(contacts)
}

pub(super) async fn add(
    shared: &Shared,
    login: &Login,
    request: AddContact,
) -> Result<Card, Failure> {
    let owner = login.user();
    if request.uid == *owner {
        return Err(AddContactError::AlreadyThere.into());
    }
    let limit = shared.policy.limits.contacts;
    match shared.storage.add_contact(owner, &request.uid, limit).await {
        Err(AddContactError::NoSuchUser) if adopt(shared, &request.uid).await? => Ok(shared
            .storage
            .add_contact(owner, &request.uid, limit)
            .await?),
        added => Ok(added?),
    }
}

pub(super) async fn remove(
    shared: &Shared,
    login: &Login,
    request: DelContact,
) -> Result<UserId, Failure> {
    let storage = &shared.storage;
    storage.remove_contact(login.user(), &request.uid).await?;
    Ok(request.uid)
}
