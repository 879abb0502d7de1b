//! `auth`: a login and a password for a new session.

use super::failures::no_such_login;
use super::meant::meant;
use super::{check, connect_as, external_user};
use crate::authenticator::{Identity, Verdict};
use crate::connection_state::{ConnectionState, Identified, Login};
use crate::names;
use crate::notifier::Notice;
use crate::shared::Shared;
use crate::storage::{NewSession, OpenSessionError, OpenedSession, Owner, SessionKey};
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
    let (user, identity) = verify(connection, &request).await?;
    if request.ephemeral {
        let nick = identity.nick.clone();
        connect_as::visit(connection, user.clone(), identity, None).await?;
        return Ok(AuthAccepted::new(SessionId::default(), user, nick));
    }
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
    let session = session_key(&sid);
    let who = Identified {
        device: open(shared, &user, session, &identity, ack).await?,
        nick: identity.nick.clone(),
        ack,
    };
    connection.set_login(Login::begin(shared, connection.id, who));
    tracing::debug!(login = user.as_str(), %session, "logged in");
    Ok(AuthAccepted::new(sid, user, identity.nick))
}

async fn verify(
    connection: &ConnectionState,
    request: &Auth,
) -> Result<(UserId, Identity), Failure> {
    let shared = &*connection.shared;
    let (storage, peer) = (&shared.storage, connection.peer);
    // However it is written, it is one login.
    let kept = names::other_spelling(&request.login, shared.policy.limits.name);
    let login = kept.as_deref().unwrap_or(&request.login);
    let attempt = match &shared.limiters {
        Some(limiters) => Some(limiters.attempt(storage, login, peer).await?),
        None => None,
    };
    let asked = ask(shared, request).await;
    let has_failed = matches!(asked, Ok((_, Verdict::NoSuchLogin | Verdict::WrongPass)));
    if let Some(attempt) = attempt
        && !has_failed
    {
        attempt.has_not_failed().await;
    }
    let (user, verdict) = asked?;
    match verdict {
        Verdict::Accepted(identity) => Ok((user, identity)),
        Verdict::NoSuchLogin => {
            log_failure(connection, &request.login, "no such login");
            Err(no_such_login())
        }
        Verdict::WrongPass => {
            log_failure(connection, &request.login, "wrong password");
            let text = "The password is wrong";
            Err(Failure::new(ErrorCode::InvalidPass, text))
        }
    }
}

/// Whom the login means, and whether the password is theirs.
async fn ask(shared: &Shared, request: &Auth) -> Result<(UserId, Verdict), Failure> {
    let user = meant(shared, UserId::from(&*request.login)).await?;
    let verdict = shared.authenticator.verify(&user, &request.pass).await?;
    Ok((user, verdict))
}

/// Tools that keep addresses out read this line (docs/fail2ban.conf). So the address stands before what the client has
/// written, and that is quoted.
fn log_failure(connection: &ConnectionState, login: &str, reason: &str) {
    let address = connection.peer.map(tracing::field::display);
    tracing::warn!(address, reason, login, "a log-in failed");
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
