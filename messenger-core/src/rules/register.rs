//! `register`: a new account. It does not authenticate, unless the policy says so.

use super::{auth, check};
use crate::connection_state::ConnectionState;
use crate::reply::Reply;
use messenger_proto::{Action, Auth, ErrorCode, Failure, Outbound, Register};
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
        let text = "This connection is authenticated already";
        return Err(Failure::new(ErrorCode::AlreadyRegistered, text));
    }
    check::not_empty("login", &request.login)?;
    check::not_empty("pass", request.pass.as_str())?;
    check::not_empty("nick", &request.nick)?;
    check::name("login", &request.login, limits.name)?;
    check::at_most_bytes("pass", request.pass.as_str(), limits.pass)?;
    check::name("nick", &request.nick, limits.name)?;
    if let Some(limiters) = &shared.limiters {
        limiters.registration(connection.peer)?;
    }
    Ok(shared.authenticator.register(request).await?)
}
