//! `register`: a new account. It does not authenticate, unless the policy says so.

use super::{auth, check, failures};
use crate::authenticator::RegisterError;
use crate::connection_state::ConnectionState;
use crate::names;
use crate::reply::Reply;
use crate::shared::Shared;
use messenger_proto::{Action, Auth, Failure, Outbound, Register, UserId};
use std::sync::Arc;

pub(super) async fn register(connection: &Arc<ConnectionState>, request: Register) -> Reply {
    let policy = &connection.shared.policy;
    let result = create(connection, &request).await;
    let follow = if result.is_ok() && policy.auth_on_register {
        let auth = Auth::new(request.login, request.pass);
        let authenticated = Auth::response(auth::auth(connection, auth).await);
        Some(Outbound::Response(authenticated))
    } else {
        None
    };
    connection.reply(Register::response(result), follow)
}

async fn create(connection: &ConnectionState, request: &Register) -> Result<(), Failure> {
    let shared = &connection.shared;
    let limits = &shared.policy.limits;
    if connection.login().is_some() {
        return Err(failures::authenticated_already());
    }
    check::not_empty("login", &request.login)?;
    check::not_empty("pass", request.pass.as_str())?;
    check::not_empty("nick", &request.nick)?;
    let login = check::login(&request.login, limits.name)?;
    check::at_most_bytes("pass", request.pass.as_str(), limits.pass)?;
    let nick = check::nick(&request.nick, limits.name)?;
    if let Some(limiters) = &shared.limiters {
        limiters.registration(connection.peer)?;
    }
    if is_taken_as_it_was_kept(shared, &request.login, &login).await? {
        return Err(RegisterError::LoginTaken.into());
    }
    let request = Register::new(login, request.pass.clone(), nick);
    Ok(shared.authenticator.register(&request).await?)
}

/// Whether somebody has this login from a time when it was kept as it was written.
async fn is_taken_as_it_was_kept(
    shared: &Shared,
    written: &str,
    login: &str,
) -> Result<bool, Failure> {
    for other in [written, &names::decomposed(login)] {
        if other != login
            && shared
                .storage
                .profile(&UserId::from(other))
                .await?
                .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
