//! `delcontact`: one contact fewer.

use super::meant::meant;
use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{DelContact, Failure, UserId};

impl Rule for DelContact {
    async fn carry_out(
        self,
        connection: &ConnectionState,
        login: &Login,
    ) -> Result<UserId, Failure> {
        let shared = &*connection.shared;
        let uid = meant(shared, self.uid).await?;
        shared.storage.remove_contact(&login.owner(), &uid).await?;
        Ok(uid)
    }
}
