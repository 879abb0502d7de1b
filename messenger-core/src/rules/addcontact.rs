//! `addcontact`: one contact more.

use super::external_user;
use super::meant::meant;
use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use crate::storage::AddContactError;
use messenger_proto::{AddContact, Card, Failure};

impl Rule for AddContact {
    async fn carry_out(self, connection: &ConnectionState, login: &Login) -> Result<Card, Failure> {
        let shared = &*connection.shared;
        let (owner, uid) = (login.owner(), &meant(shared, self.uid).await?);
        if *uid == owner.user {
            return Err(AddContactError::AlreadyThere.into());
        }
        let limit = shared.policy.limits.contacts;
        let added = shared.storage.add_contact(&owner, uid, limit).await;
        match added {
            Err(AddContactError::NoSuchUser) if external_user::resolve(shared, uid).await? => {
                Ok(shared.storage.add_contact(&owner, uid, limit).await?)
            }
            added => Ok(added?),
        }
    }
}
