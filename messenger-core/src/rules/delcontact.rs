//! `delcontact`: one contact fewer.

use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{DelContact, Failure, UserId};

impl Rule for DelContact {
    async fn carry_out(
        self,
        connection: &ConnectionState,
        login: &Login,
    ) -> Result<UserId, Failure> {
        let storage = &connection.shared.storage;
        storage.remove_contact(&login.owner(), &self.uid).await?;
        Ok(self.uid)
    }
}
