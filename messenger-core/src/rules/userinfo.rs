//! `userinfo`: what a user tells of themselves.

use super::external_user;
use super::failures::no_such_user;
use super::meant::meant;
use super::rule::Rule;
use crate::connection_state::{ConnectionState, Login};
use messenger_proto::{Failure, Profile, UserInfo};

impl Rule for UserInfo {
    async fn carry_out(self, connection: &ConnectionState, _: &Login) -> Result<Profile, Failure> {
        let shared = &*connection.shared;
        let user = meant(shared, self.user).await?;
        if let Some(profile) = shared.storage.profile(&user).await? {
            return Ok(profile);
        }
        if !external_user::resolve(shared, &user).await? {
            return Err(no_such_user());
        }
        let profile = shared.storage.profile(&user).await?;
        profile.ok_or_else(no_such_user)
    }
}
