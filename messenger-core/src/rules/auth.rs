//! `auth`: a login and a password for a new session.

use super::failures::no_such_user;
use super::{check, external_user};
use crate::authenticator::{Identity, Verdict};
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::notifier::Notice;
use crate::shared::Shared;
use crate::storage::{NewSession, OpenSessionError, OpenedSession, SessionKey};
use crate::watermarks::Device;
use messenger_proto::{Auth, AuthAccepted, ErrorCode, Failure, SessionId, UserId};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The bytes of a session's secret.
const SECRET: usize = 24;

pub(super) async fn auth(
    connection: &ConnectionState,
    request: Auth,
) -> Result<AuthAccepted, Failure> {
    let shared = &*connection.shared;
    let limits = &shared.policy.limits;
    check::not_empty("login", &request.login)?;
    check::not_empty("pass", request.pass.as_str())?;
    check::at_most_chars("login", &request.login, limits.name)?;
    check::at_most_bytes("pass", request.pass.as_str(), limits.pass)?;
    let user = UserId::from(&*request.login);
    let identity = verify(connection, &user, &request).await?;
    log_in(connection, user, identity, request.ack).await
}

/// Authenticates the connection as this user, through a new session.
pub(super) async fn log_in(
    connection: &ConnectionState,
    user: UserId,
    identity: Identity,
    ack: bool,
) -> Result<AuthAccepted, Failure> {
    let shared = &*connection.shared;
    let sid = new_secret(shared)?;
    let who = Identified {
        device: open(shared, &user, session_key(&sid), &identity, ack).await?,
        nick: identity.nick.clone(),
        sid: sid.clone(),
        ack,
    };
    connection.set_login(Login::begin(shared, connection.id, who));
    Ok(AuthAccepted::new(sid, user, identity.nick))
}

async fn verify(
    connection: &ConnectionState,
    user: &UserId,
    request: &Auth,
) -> Result<Identity, Failure> {
    let shared = &*connection.shared;
    let limiters = shared.limiters.as_ref();
    let attempt = limiters.map(|limiters| limiters.attempt(&request.login, connection.peer));
    let attempt = attempt.transpose()?;
    let verdict = shared.authenticator.verify(user, &request.pass).await;
    let has_failed = matches!(verdict, Ok(Verdict::NoSuchLogin | Verdict::WrongPass));
    if let Some(attempt) = attempt
        && !has_failed
    {
        attempt.has_not_failed();
    }
    match verdict? {
        Verdict::Accepted(identity) => Ok(identity),
        Verdict::NoSuchLogin => {
            let text = "No account has this login";
            Err(Failure::new(ErrorCode::NeedRegister, text))
        }
        Verdict::WrongPass => {
            let text = "The password is wrong";
            Err(Failure::new(ErrorCode::InvalidPass, text))
        }
    }
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
    // What other sessions were given and when they were used decides where this one begins and
    // which one ends.
    shared.flush_watermarks().await?;
    let now = shared.now();
    let new = NewSession {
        user: user.clone(),
        key,
        ack,
        now,
        expired_before: shared.out_of_date(shared.policy.session_lifetime),
        limit: shared.policy.limits.sessions,
    };
    // An account kept elsewhere may be new here, or have another nick now.
    external_user::upsert(shared, user, identity).await?;
    let opened = shared.storage.open_session(new).await;
    let OpenedSession {
        delivered_up_to,
        ended,
    } = opened.map_err(|error| match error {
        OpenSessionError::NoSuchUser => no_such_user(),
        OpenSessionError::Storage(error) => error.into(),
    })?;
    for key in ended {
        shared.notifier.notify(user, Notice::SessionEnded(key));
    }
    Ok(Device::new(user.clone(), key, delivered_up_to, now))
}
