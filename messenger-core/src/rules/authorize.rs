//! Whose request it is: the connection's, or by `cid` and `sid` a session's that comes back.

use super::begin_session::session_key;
use super::failures::need_auth;
use super::meant::meant;
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::shared::Shared;
use crate::storage::{Owner, ResumedSession, SessionKey};
use crate::watermarks::Device;
use messenger_proto::{Credentials, Failure, UserId};
use std::sync::Arc;

/// On an authenticated connection `cid` and `sid` are not looked at: clients send stale ones, or something else.
pub(super) async fn authorize(
    connection: &ConnectionState,
    credentials: &Credentials,
) -> Result<Arc<Login>, Failure> {
    match connection.login() {
        Some(login) => Ok(login),
        None => resume(connection, credentials).await,
    }
}

/// Goes on with a session on a fresh connection. It costs no password hash.
async fn resume(
    connection: &ConnectionState,
    credentials: &Credentials,
) -> Result<Arc<Login>, Failure> {
    let shared = &*connection.shared;
    credentials.check()?;
    let Credentials { cid, sid, .. } = credentials;
    if cid.is_empty() || sid.is_empty() {
        return Err(need_auth());
    }
    let user = meant(shared, cid.clone()).await?;
    // The session begins behind what it was itself given, perhaps a moment ago on another connection.
    let storage = &shared.storage;
    shared.watermarks.flush_moved_of(storage, &user).await?;
    let key = session_key(sid);
    let resumed = live_session(shared, &user, &key).await?;
    let ResumedSession { record, nick, .. } = resumed.ok_or_else(need_auth)?;
    tracing::debug!(login = user.as_str(), session = %key, "a session is resumed");
    let owner = Owner::new(user, record.user_number);
    let who = Identified {
        // A clock that was wrong may have put its last use into the future.
        device: Device::new(
            owner,
            key,
            record.delivered_up_to,
            record.used.min(shared.now()),
        ),
        nick,
        ack: record.ack,
    };
    let login = Login::begin(shared, connection.id, who);
    connection.set_login(Arc::clone(&login));
    Ok(login)
}

async fn live_session(
    shared: &Shared,
    user: &UserId,
    key: &SessionKey,
) -> Result<Option<ResumedSession>, Failure> {
    let expired_before = shared.out_of_date(shared.policy.session_lifetime);
    let is_live = |resumed: &ResumedSession| resumed.record.used >= expired_before;
    let resumed = shared.storage.resume(user, key).await?;
    if resumed.as_ref().is_none_or(is_live) {
        return Ok(resumed);
    }
    // Its last use may not be stored yet.
    shared.watermarks.flush_user(&shared.storage, user).await?;
    let resumed = shared.storage.resume(user, key).await?;
    Ok(resumed.filter(is_live))
}
