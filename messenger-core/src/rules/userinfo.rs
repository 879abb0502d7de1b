//! `userinfo` and `setuserinfo`: profiles.

use super::check;
use super::failures::no_such_user;
use crate::engine::Shared;
use crate::session::Login;
use crate::storage::{Address, ProfileChange};
use messenger_proto::{Failure, Profile, SetUserInfo, UserId, UserInfo};

pub(super) async fn read(shared: &Shared, request: UserInfo) -> Result<Profile, Failure> {
    if let Some(profile) = shared.storage.profile(&request.user).await? {
        return Ok(profile);
    }
    if !adopt(shared, &request.user).await? {
        return Err(no_such_user());
    }
    let profile = shared.storage.profile(&request.user).await?;
    profile.ok_or_else(no_such_user)
}

pub(super) async fn change(
    shared: &Shared,
    login: &Login,
    request: SetUserInfo,
) -> Result<(), Failure> {
    let limits = &shared.policy.limits;
    if let Some(text) = &request.user_status {
        check::at_most_chars("user_status", text, limits.user_status)?;
    }
    if let Some(text) = &request.email {
        check::at_most_chars("email", text, limits.email)?;
    }
    if let Some(text) = &request.phone {
        check::at_most_chars("phone", text, limits.phone)?;
    }
    if let Some(text) = &request.picture {
        check::at_most_bytes("picture", text, limits.picture)?;
    }
    let rule = shared.address_rule().await?;
    let change = ProfileChange {
        user_status: request.user_status,
        email: request.email.map(|text| Address {
            key: rule.email(&text),
            text,
        }),
        phone: request.phone.map(|text| Address {
            key: rule.phone(&text),
            text,
        }),
        picture: request.picture,
    };
    Ok(shared.storage.change_profile(login.user(), change).await?)
}

/// Asks the authenticator for a user the store does not know. True when it knows them, and the
/// store does now.
pub(super) async fn adopt(shared: &Shared, user: &UserId) -> Result<bool, Failure> {
    let Some(identity) = shared.authenticator.identify(user).await? else {
        return Ok(false);
    };
    let user = UserId::from(user.as_str());
    shared.storage.adopt_user(&user, &identity.nick).await?;
    Ok(true)
}
