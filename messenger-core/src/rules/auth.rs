//! `auth`: a login and a password for a new session.

use super::failures::no_such_login;
use super::meant::meant;
use super::{begin_session, check};
use crate::authenticator::{Identity, Verdict};
use crate::connection_state::ConnectionState;
use crate::names;
use crate::shared::Shared;
use messenger_proto::{Auth, AuthAccepted, ErrorCode, Failure, SessionId, UserId};

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
    let Verified {
        user,
        identity,
        ended,
    } = verify(connection, &request).await?;
    if request.ephemeral {
        let nick = identity.nick.clone();
        let ended = Some(ended);
        begin_session::ephemeral(connection, user.clone(), identity, None, ended).await?;
        return Ok(AuthAccepted::new(SessionId::default(), user, nick));
    }
    begin_session::lasting(connection, user, identity, request.ack, Some(ended)).await
}

/// Whose login and password they are.
struct Verified {
    user: UserId,
    identity: Identity,
    /// How often all sessions of the user had been ended before the password was looked at.
    ended: u64,
}

async fn verify(connection: &ConnectionState, request: &Auth) -> Result<Verified, Failure> {
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
    let has_failed = matches!(asked, Ok((_, _, Verdict::NoSuchLogin | Verdict::WrongPass)));
    if let Some(attempt) = attempt
        && !has_failed
    {
        attempt.has_not_failed().await;
    }
    let (user, ended, verdict) = asked?;
    match verdict {
        Verdict::Accepted(identity) => Ok(Verified {
            user,
            identity,
            ended,
        }),
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

/// Whom the login means, how often their sessions were ended, and whether the password is theirs.
async fn ask(shared: &Shared, request: &Auth) -> Result<(UserId, u64, Verdict), Failure> {
    let user = meant(shared, UserId::from(&*request.login)).await?;
    let ended = shared.storage.ephemeral_ended(&user).await?;
    let verdict = shared.authenticator.verify(&user, &request.pass).await?;
    Ok((user, ended, verdict))
}

/// Tools that keep addresses out read this line (docs/fail2ban.conf). So the address stands before what the client has
/// written, and that is quoted.
fn log_failure(connection: &ConnectionState, login: &str, reason: &str) {
    let address = connection.peer.map(tracing::field::display);
    tracing::warn!(address, reason, login, "a log-in failed");
}
