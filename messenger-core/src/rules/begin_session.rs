//! How a session begins, once it is known whose it is.

use super::external_user;
use super::failures::no_such_login;
use crate::authenticator::Identity;
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::notifier::Notice;
use crate::shared::Shared;
use crate::storage::{NewSession, OpenSessionError, OpenedSession, Owner, SessionKey};
use crate::watermarks::Device;
use messenger_proto::{AuthAccepted, ErrorCode, Failure, SessionId, UserId};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The bytes of a session's secret.
const SECRET: usize = 24;

/// Authenticates the connection as this user, through a new session. The user's sessions may have been ended since they
/// had been `ended` so often, before the password was looked at: then this one ends with them.
pub(super) async fn lasting(
    connection: &ConnectionState,
    user: UserId,
    identity: Identity,
    ack: bool,
    ended: Option<u64>,
) -> Result<AuthAccepted, Failure> {
    let shared = &*connection.shared;
    let sid = new_secret(shared)?;
    let session = session_key(&sid);
    let device = open(shared, &user, session, &identity, ack).await?;
    if let Some(ended) = ended
        && shared.storage.ephemeral_ended(&user).await? != ended
    {
        shared.storage.end_session(&user, &session).await?;
        let text = "The sessions of this user were ended meanwhile; log in again";
        return Err(Failure::new(ErrorCode::Unavailable, text));
    }
    let who = Identified {
        device,
        nick: identity.nick.clone(),
        ack,
    };
    connection.set_login(Login::begin(shared, connection.id, who));
    tracing::debug!(login = user.as_str(), %session, "logged in");
    Ok(AuthAccepted::new(sid, user, identity.nick))
}

/// Authenticates the connection as this user, through a session that is kept nowhere. It ends as a [`lasting`] one does.
pub(super) async fn ephemeral(
    connection: &ConnectionState,
    user: UserId,
    identity: Identity,
    after: Option<u64>,
    ended: Option<u64>,
) -> Result<(), Failure> {
    let shared = &*connection.shared;
    let number = external_user::upsert(shared, &user, &identity).await?;
    let ended = match ended {
        Some(ended) => ended,
        None => shared.storage.ephemeral_ended(&user).await?,
    };
    let newest = shared.storage.newest(&user).await?;
    let start = after.unwrap_or(newest).min(newest);
    let who = Identified {
        device: Device::ephemeral(Owner::new(user, number), ended, start, shared.now()),
        nick: identity.nick,
        ack: false,
    };
    connection.set_login(Login::begin(shared, connection.id, who));
    Ok(())
}

/// What a session is found by.
pub(super) fn session_key(sid: &SessionId) -> SessionKey {
    SessionKey(Sha256::digest(sid.as_str().as_bytes()).into())
}

fn new_secret(shared: &Shared) -> Result<SessionId, Failure> {
    let mut secret = [0; SECRET];
    shared.entropy.fill(&mut secret)?;
    let mut text = String::with_capacity(2 * SECRET);
    for byte in secret {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text.into())
}

async fn open(
    shared: &Shared,
    user: &UserId,
    key: SessionKey,
    identity: &Identity,
    ack: bool,
) -> Result<Device, Failure> {
    // What is delivered to other sessions, and when they were used, decides where this one begins and
    // which one ends.
    shared.watermarks.flush_user(&shared.storage, user).await?;
    let now = shared.now();
    // An account kept elsewhere may be new here, or have another nick now.
    let number = external_user::upsert(shared, user, identity).await?;
    let owner = Owner::new(user.clone(), number);
    let new = NewSession::new(owner.clone(), key, now)
        .ack(ack)
        .expired_before(shared.out_of_date(shared.policy.session_lifetime))
        .limit(shared.policy.limits.sessions);
    let opened = shared.storage.open_session(new).await;
    let OpenedSession {
        delivered_up_to,
        ended,
    } = opened.map_err(|error| match error {
        OpenSessionError::NoSuchUser => no_such_login(),
        OpenSessionError::Storage(error) => error.into(),
    })?;
    for key in ended {
        shared.notifier.notify(user, Notice::SessionEnded(key));
    }
    Ok(Device::new(owner, key, delivered_up_to, now))
}
