//! Users whose accounts are kept elsewhere: the store is told of them when they are first needed.

use crate::authenticator::Identity;
use crate::shared::Shared;
use crate::storage::{Address, Owner, ProfileChange, StorageError, UserNumber};
use crate::timed_storage::Kind;
use messenger_proto::{Failure, Profile, UserId};

/// Asks the authenticator for a user the store does not know. True when it knows them, and the store
/// does now.
pub(super) async fn resolve(shared: &Shared, user: &UserId) -> Result<bool, Failure> {
    let Some(identity) = identify(shared, user).await? else {
        return Ok(false);
    };
    let user = UserId::from(user.as_str());
    upsert(shared, &user, &identity).await?;
    Ok(true)
}

/// Whom the authenticator knows by this login. It may ask a directory, which has the time of a call of the store.
pub(super) async fn identify(shared: &Shared, login: &UserId) -> Result<Option<Identity>, Failure> {
    let identified = async { Ok::<_, StorageError>(shared.authenticator.identify(login).await) };
    Ok(shared.storage.in_time(Kind::Read, identified).await??)
}

/// Has the store know the user, with what the identity tells; it is written only what is not there yet. Which of
/// those who have had the id it is; an account that was found in this store may be gone by now.
pub(crate) async fn upsert(
    shared: &Shared,
    user: &UserId,
    identity: &Identity,
) -> Result<UserNumber, StorageError> {
    if let Some(number) = identity.user_number {
        return Ok(number);
    }
    let known = shared.storage.profile(user).await?;
    if known
        .as_ref()
        .is_none_or(|known| known.nick != identity.nick)
    {
        shared
            .storage
            .upsert_external_user(user, &identity.nick)
            .await?;
    }
    let number = shared.storage.user_number(user).await?;
    let number = number.ok_or_else(|| StorageError::new("the user was deleted meanwhile"))?;
    if tells_more(identity, &known.unwrap_or_default()) {
        let owner = Owner {
            user: user.clone(),
            number,
        };
        let change = change(shared, identity).await?;
        shared.storage.change_profile(&owner, change).await?;
    }
    Ok(number)
}

/// Whether it has something that is not in the profile, beside the nick.
fn tells_more(identity: &Identity, known: &Profile) -> bool {
    let fields = [
        (&identity.email, &known.email),
        (&identity.phone, &known.phone),
        (&identity.picture, &known.picture),
        (&identity.user_status, &known.user_status),
    ];
    let mut told = fields.iter();
    told.any(|(told, known)| told.as_ref().is_some_and(|told| told != *known))
}

async fn change(shared: &Shared, identity: &Identity) -> Result<ProfileChange, StorageError> {
    let rule = shared.address_rule().await?;
    Ok(ProfileChange {
        user_status: identity.user_status.clone(),
        email: identity.email.clone().map(|text| Address {
            key: rule.email(&text),
            text,
        }),
        phone: identity.phone.clone().map(|text| Address {
            key: rule.phone(&text),
            text,
        }),
        picture: identity.picture.clone(),
    })
}
