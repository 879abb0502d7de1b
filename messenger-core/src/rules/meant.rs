//! Whom a login means that somebody has typed.

use super::external_user::identify;
use crate::names;
use crate::shared::Shared;
use messenger_proto::{Failure, UserId};

/// The user who has the login as it is written, or else whoever may have it as new ones are kept. Without a question
/// to anybody when that is the same.
pub(super) async fn meant(shared: &Shared, written: UserId) -> Result<UserId, Failure> {
    let most = shared.policy.limits.name;
    let Some(kept) = names::other_spelling(written.as_str(), most) else {
        return Ok(written);
    };
    let is_known = shared.storage.profile(&written).await?.is_some()
        || identify(shared, &written).await?.is_some();
    Ok(if is_known { written } else { kept.into() })
}
