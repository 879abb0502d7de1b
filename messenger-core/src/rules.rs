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
        Err(inbound) => {
            let alone = carry_out_alone(Arc::clone(connection), inbound);
            Box::pin(timed_storage::together(alone))
        }
    }
}

/// Starts a `message` of a client that is authenticated; anything else is given back, and so is a message
/// behind one that waits for a moderator, or whose recipient is still looked up.
#[inline]
#[expect(clippy::result_large_err)] // the request is handed back, not reported
pub(crate) fn try_start(
    connection: &Arc<ConnectionState>,
    inbound: Inbound,
) -> Result<Started, Inbound> {
    if message::must_wait(connection) {
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
        return Taken::Request(inbound);
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
        None => Taken::Request(Inbound::new(request).credentials(inbound.credentials)),
    }
}

/// Starts the messages at the front of the queue. False when nothing was begun: the first is none, or has to wait.
pub(crate) fn start_together(
    connection: &Arc<ConnectionState>,
    taken: &mut Queue,
    mut started: impl FnMut(Started, usize),
) -> bool {
    let is_message = matches!(taken.front(), Some(Taken::Message(_)));
    if !is_message || message::must_wait(connection) {
        return false;
    }
    let own = connection.authenticated();
    let is_only = own.is_some_and(|own| own.login.is_only());
    match &connection.shared.moderator {
        None => message::start_together(connection, is_only, taken, started),
        Some(moderator) => {
            // One that waits for its look keeps those behind it waiting.
            if let Some((Taken::Message(new), length)) = taken.pop_front() {
                started(
                    moderation::start(connection, moderator, new, is_only),
                    length,
                );
            }
        }
    }
    true
}

/// Starts a message by itself.
pub(crate) fn start_alone(connection: &Arc<ConnectionState>, new: NewMessage) -> Started {
    match &connection.shared.moderator {
        None => message::store(connection, new, false),
        Some(moderator) => moderation::start(connection, moderator, new, false),
    }
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
async fn carry_out_alone(connection: Arc<ConnectionState>, inbound: Inbound) -> Reply {
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
    let action = request.action();
    let mut response = carry_out_for(&connection, &login, request).await;
    if may_concern_another(action, &response)
        && let Err(failure) = still_there(&connection, &login).await
    {
        response = Response::failed(action, failure.clone()).unwrap_or(Response::unknown(failure));
    }
    connection.reply(response, None)
}

/// True when the answer would be wrong had the login's user been deleted before it was found: the end of a session
/// is the end, most failures come of the request itself, and an `ack` looks for itself.
fn may_concern_another(action: &str, response: &Response) -> bool {
    let failure = response.failure();
    ![Logout::NAME, Ack::NAME].contains(&action)
        && failure.is_none_or(|failure| failure.code == ErrorCode::UserNotFound)
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
