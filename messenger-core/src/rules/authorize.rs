//! Whose request it is: the connection's, or by `cid` and `sid` a session's that comes back.

use super::auth::session_key;
use super::failures::need_auth;
use super::meant::meant;
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::shared::Shared;
use crate::storage::{SessionKey, SessionRecord};
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
    let Credentials { cid, sid, .. } = credentials;
    if cid.is_empty() || sid.is_empty() {
        return Err(need_auth());
    }
    let cid = &meant(shared, cid.clone()).await?;
    // The session begins behind what it was itself given, perhaps a moment ago on another connection.
    shared.flush_watermarks().await?;
    let key = session_key(sid);
    let record = live_session(shared, cid, &key)
        .await?
        .ok_or_else(need_auth)?;
    let profile = shared.storage.profile(cid).await?.ok_or_else(need_auth)?;
    let user = UserId::from(cid.as_str());
    tracing::debug!(login = ?user.as_str(), session = %key, "a session is resumed");
    let who = Identified {
        device: Device::new(user, key, record.delivered_up_to, record.used),
        nick: profile.nick,
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
) -> Result<Option<SessionRecord>, Failure> {
    let record = shared.storage.session(user, key).await?;
    let expired_before = shared.now().before(shared.policy.session_lifetime);
    Ok(record.filter(|record| record.used >= expired_before))
}
