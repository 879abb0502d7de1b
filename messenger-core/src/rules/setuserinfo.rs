//! `setuserinfo`: what a user tells of themselves from now on.

use super::check;
use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use crate::storage::{Address, ProfileChange};
use messenger_proto::{ByteString, Failure, SetUserInfo};

impl Rule for SetUserInfo {
    async fn carry_out(self, connection: &ConnectionState, login: &Login) -> Result<(), Failure> {
        let shared = &*connection.shared;
        let limits = &shared.policy.limits;
        if let Some(text) = &self.user_status {
            check::at_most_chars("user_status", text, limits.user_status)?;
        }
        if let Some(text) = &self.email {
            check::at_most_chars("email", text, limits.email)?;
        }
        if let Some(text) = &self.phone {
            check::at_most_chars("phone", text, limits.phone)?;
        }
        if let Some(text) = &self.picture {
            check::at_most_bytes("picture", text, limits.picture)?;
        }
        let keeps = shared.policy.keep_addresses && !login.has_features();
        let is_given = |address: &ByteString| !(keeps && address.is_empty());
        let rule = shared.address_rule().await?;
        let change = ProfileChange {
            user_status: self.user_status,
            email: self.email.filter(is_given).map(|text| Address {
                key: rule.email(&text),
                text,
            }),
            phone: self.phone.filter(is_given).map(|text| Address {
                key: rule.phone(&text),
                text,
            }),
            picture: self.picture,
        };
        let owner = login.owner();
        Ok(shared.storage.change_profile(&owner, change).await?)
    }
}
