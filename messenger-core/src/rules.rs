//! What the engine does with each request: one file an action.

mod ack;
mod addcontact;
mod auth;
mod authorize;
mod begin_session;
mod check;
mod connect_as;
mod contactlist;
mod delcontact;
mod external_user;
mod failures;
mod import;
mod logout;
mod meant;
mod message;
mod moderation;
mod pictures;
mod register;
mod rule;
mod setuserinfo;
mod storing;
mod telling;
mod userinfo;

pub use connect_as::SessionKind;
pub(crate) use connect_as::connect_as;
pub(crate) use external_user::upsert;

use crate::connection_state::{ConnectionState, Login};
use crate::reply::{Reply, Running, Started};
use crate::storage::{NewMessage, StorageError};
use crate::taken::{Moment, Queue, Taken};
use crate::timed_storage;
use messenger_proto::{
    Ack, Action, AddContact, Auth, BadRequest, ContactList, DelContact, ErrorCode, Failure, Import,
    Inbound, Logout, Register, Request, Response, SetUserInfo, UserInfo,
};
use parking_lot::MappedMutexGuard;
use rule::Rule;
use std::future::ready;
use std::sync::Arc;

/// The table of actions that need an authenticated client.
macro_rules! rules {
    ($($action:ident,)*) => {
        /// Carries out one of these actions.
        async fn carry_out_for(
            connection: &ConnectionState,
            login: &Login,
            request: Request,
        ) -> Response {
            match request {
                $(Request::$action(action) => {
                    $action::response(action.carry_out(connection, login).await)
                })*
                other => Response::unknown(failures::not_here(other.action())),
            }
        }

        /// See [`Rule::LOOKS_BEHIND`].
        fn looks_behind(request: &Request) -> bool {
            match request {
                $(Request::$action(_) => <$action as Rule>::LOOKS_BEHIND,)*
                _ => false,
            }
        }
    };
}

rules! {
    Ack,
    AddContact,
    ContactList,
    DelContact,
    Import,
    Logout,
    SetUserInfo,
    UserInfo,
}

/// Carries out one request.
pub(crate) fn carry_out(connection: &Arc<ConnectionState>, inbound: Inbound) -> Running {
    match try_start(connection, inbound) {
        Ok(Started::Done(reply)) => Box::pin(ready(reply)),
        Ok(Started::Pending(message)) => message,
        Err(inbound) => carry_out_alone(connection, inbound),
    }
}

/// Carries out one request that is not [started](try_start).
pub(crate) fn carry_out_alone(connection: &Arc<ConnectionState>, inbound: Inbound) -> Running {
    let alone = alone(Arc::clone(connection), inbound);
    Box::pin(timed_storage::together(alone))
}

/// Starts a `message` of a client that is authenticated; anything else is given back, and so is a message
/// behind one that waits for a moderator, or whose recipient is still looked up.
#[inline]
#[expect(clippy::result_large_err)] // the request is handed back, not reported
pub(crate) fn try_start(
    connection: &Arc<ConnectionState>,
    inbound: Inbound,
) -> Result<Started, Inbound> {
    if storing::must_wait(connection) {
        return Err(inbound);
    }
    let Request::SendMessage(request) = inbound.request else {
        return Err(inbound);
    };
    let credentials = inbound.credentials;
    let Some(own) = connection.authenticated() else {
        return Err(Inbound::new(request).credentials(credentials));
    };
    let login = MappedMutexGuard::map(own, |own| &mut own.login);
    Ok(message::start(connection, login, request))
}

/// Takes a request. A `message` of a client that is authenticated is made ready to be started together with others, which
/// have one `moment`.
#[inline]
pub(crate) fn take(
    connection: &ConnectionState,
    moment: &mut Option<Moment>,
    inbound: Inbound,
) -> Taken {
    let Request::SendMessage(request) = inbound.request else {
        return Taken::Alone(inbound);
    };
    if moment.is_none() {
        let now = connection.shared.now();
        *moment = connection.login().map(|login| Moment { login, now });
        if let Some(moment) = moment {
            moment.login.touch(now);
        }
    }
    match moment {
        Some(moment) => message::take(connection, moment, request),
        None => Taken::Alone(Inbound::new(request).credentials(inbound.credentials)),
    }
}

/// Starts the messages at the front of the queue. False when nothing was begun: the first is none, or has to wait.
pub(crate) fn start_together(
    connection: &Arc<ConnectionState>,
    taken: &mut Queue,
    started: impl FnMut(Started, usize),
) -> bool {
    let is_message = matches!(taken.front(), Some(Taken::Message(_)));
    if !is_message || storing::must_wait(connection) {
        return false;
    }
    message::begin_together(connection, taken, started);
    true
}

/// Starts a message by itself.
pub(crate) fn start_alone(connection: &Arc<ConnectionState>, new: NewMessage) -> Started {
    message::begin(connection, new, false)
}

/// The answer to a frame that was no request.
pub(crate) fn refuse(connection: &ConnectionState, bad: &BadRequest) -> Reply {
    let response = match bad {
        BadRequest::UnknownAction { action } if connection.authenticated().is_none() => {
            Response::Unknown {
                action: action.clone(),
                failure: failures::need_auth(),
            }
        }
        bad => match bad.response() {
            Response::Register(_) if connection.authenticated().is_some() => {
                Register::fail(failures::authenticated_already())
            }
            response => response,
        },
    };
    connection.reply(response, None)
}

/// Whatever is not a message of the connection's own has a future of its own: a future that could be of any
/// kind would be some KiB large.
async fn alone(connection: Arc<ConnectionState>, inbound: Inbound) -> Reply {
    let Inbound {
        credentials,
        request,
        ..
    } = inbound;
    let request = match request {
        Request::Register(request) => return register::register(&connection, request).await,
        Request::Auth(request) => {
            let response = Auth::response(auth::auth(&connection, request).await);
            return connection.reply(response, None);
        }
        request => request,
    };
    let login = match authorize::authorize(&connection, &credentials).await {
        Ok(login) => login,
        Err(failure) => {
            let failed = Response::failed(request.action(), failure.clone());
            return connection.reply(failed.unwrap_or(Response::unknown(failure)), None);
        }
    };
    if let Request::SendMessage(request) = request {
        return match message::start(&connection, &login, request) {
            Started::Done(reply) => reply,
            Started::Pending(message) => message.await,
        };
    }
    login.touch(connection.shared.now());
    let (action, looks_behind) = (request.action(), looks_behind(&request));
    let mut response = carry_out_for(&connection, &login, request).await;
    if looks_behind
        && may_concern_another(&response)
        && let Err(failure) = still_there(&connection, &login).await
    {
        response = Response::failed(action, failure.clone()).unwrap_or(Response::unknown(failure));
    }
    connection.reply(response, None)
}

/// True when the answer would be wrong had the login's user been deleted before it was found: most failures come of the
/// request itself.
fn may_concern_another(response: &Response) -> bool {
    let failure = response.failure();
    failure.is_none_or(|failure| failure.code == ErrorCode::UserNotFound)
}

/// Asked behind a request: what was read was not another's who has the id now, and what was to be written was.
async fn still_there(connection: &ConnectionState, login: &Login) -> Result<(), Failure> {
    match login.device.is_there(&connection.shared.storage).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            login.end();
            Err(failures::need_auth())
        }
        Err(error) => Err(StorageError::unknown(error).into()),
    }
}
