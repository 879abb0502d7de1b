//! Users whose accounts are kept elsewhere, and whom the store does not know yet.

use crate::shared::Shared;
use messenger_proto::{Failure, UserId};

/// Asks the authenticator for a user the store does not know. True when it knows them, and the store
/// does now.
pub(super) async fn resolve(shared: &Shared, user: &UserId) -> Result<bool, Failure> {
    let Some(identity) = shared.authenticator.identify(user).await? else {
        return Ok(false);
    };
    let user = UserId::from(user.as_str());
    shared.storage.adopt_user(&user, &identity.nick).await?;
    Ok(true)
}
