//! Whose request it is: the connection's, or by `cid` and `sid` a session's that comes back.

use super::auth::session_key;
use super::failures::need_auth;
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::shared::Shared;
use crate::storage::{SessionKey, SessionRecord};
use crate::watermarks::Device;
use messenger_proto::{Credentials, Failure, SessionId, UserId};
use std::sync::Arc;
use subtle::ConstantTimeEq;

pub(super) async fn authorize(
    connection: &ConnectionState,
    credentials: &Credentials,
) -> Result<Arc<Login>, Failure> {
    match connection.login() {
        Some(login) => {
            confirm(&connection.shared, &login, credentials).await?;
            Ok(login)
        }
        None => resume(connection, credentials).await,
    }
}

/// On an authenticated connection `cid` and `sid` may be absent; if present they must be the user's.
async fn confirm(shared: &Shared, login: &Login, credentials: &Credentials) -> Result<(), Failure> {
    if is_own(login, credentials) {
        return Ok(());
    }
    let Credentials { cid, sid, .. } = credentials;
    if !cid.is_empty() && cid != login.user() {
        return Err(need_auth());
    }
    match live_session(shared, login.user(), &session_key(sid)).await? {
        Some(_) => Ok(()),
        None => Err(need_auth()),
    }
}

/// True when `cid` and `sid`, as far as they are there, are the connection's own.
pub(super) fn is_own(login: &Login, Credentials { cid, sid, .. }: &Credentials) -> bool {
    (cid.is_empty() || cid == login.user()) && (sid.is_empty() || is_same(sid, &login.sid))
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
    // The session begins behind what it was itself given, perhaps a moment ago on another connection.
    shared.flush_watermarks().await?;
    let key = session_key(sid);
    let record = live_session(shared, cid, &key)
        .await?
        .ok_or_else(need_auth)?;
    let profile = shared.storage.profile(cid).await?.ok_or_else(need_auth)?;
    let user = UserId::from(cid.as_str());
    let who = Identified {
        // A clock that was wrong may have put its last use into the future.
        device: Device::new(
            user,
            key,
            record.delivered_up_to,
            record.used.min(shared.now()),
        ),
        nick: profile.nick,
        sid: SessionId::from(sid.as_str()),
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
    let expired_before = shared.out_of_date(shared.policy.session_lifetime);
    Ok(record.filter(|record| record.used >= expired_before))
}

/// Compares secrets in a time that does not tell how much of them is equal.
fn is_same(one: &SessionId, other: &SessionId) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    one.ct_eq(other).into()
}
