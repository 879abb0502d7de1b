//! `contactlist`, `addcontact`, `delcontact`: whom a user has in the list.

use super::userinfo::adopt;
use crate::engine::Shared;
use crate::session::Login;
use crate::storage::AddContactError;
use messenger_proto::{AddContact, Card, Contact, DelContact, Failure, UserId};

pub(super) async fn list(shared: &Shared, login: &Login) -> Result<Vec<Contact>, Failure> {
    Ok(shared.storage.contacts(login.user()).await?)
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
