//! What the engine does with each request: one file an action.

mod ack;
mod auth;
mod authorize;
mod check;
mod contacts;
mod failures;
mod import;
mod message;
mod register;
mod userinfo;

pub(crate) use failures::{need_auth, too_many};

use crate::session::{Begun, Connection, Login, Owner, Reply};
use messenger_proto::{Action, AddContact, Auth, Inbound, Request, Response, UserInfo};
use parking_lot::MappedMutexGuard;
use std::sync::Arc;

/// Carries out one request.
///
/// Whatever is not a message of the connection's own has a future of its own: a future that could be of any
/// kind would be some KiB large.
pub(crate) fn carry_out(
    connection: &Arc<Connection>,
    inbound: Inbound,
) -> impl Future<Output = Reply> + Send + 'static {
    let connection = Arc::clone(connection);
    async move {
        match own_message(&connection, inbound) {
            Begun::Answered(reply) => reply,
            Begun::UnderWay(message) => message.await,
            Begun::NotYet(inbound) => Box::pin(answer(connection, inbound)).await,
        }
    }
}

/// Carries out a `message` that is the connection's own as it stands; anything else is given back.
///
/// The message is made of its request before a future begins, which then holds no more than that, and is
/// put at once where it stays: there are many of them at once.
#[inline]
pub(crate) fn own_message(connection: &Arc<Connection>, inbound: Inbound) -> Begun {
    let is_own =
        |owner: &MappedMutexGuard<'_, Owner>| authorize::is_own(&owner.login, &inbound.credentials);
    let Some(owner) = connection.owner().filter(is_own) else {
        return Begun::NotYet(inbound);
    };
    let Request::SendMessage(request) = inbound.request else {
        return Begun::NotYet(inbound);
    };
    let is_only = owner.login.is_only();
    let prepared = message::prepare(connection, &owner.login, request);
    drop(owner);
    match prepared {
        Ok(new) => message::begin(connection, new, is_only),
        Err(failure) => message::refuse(connection, failure),
    }
}

async fn answer(connection: Arc<Connection>, inbound: Inbound) -> Reply {
    let reply = unmetered(&connection, inbound).await;
    connection.shared.meters.answered(&reply.response);
    reply
}

async fn unmetered(connection: &Arc<Connection>, inbound: Inbound) -> Reply {
    let Inbound {
        credentials,
        request,
    } = inbound;
    match request {
        Request::Register(request) => register::register(connection, request).await,
        Request::Auth(request) => Auth::response(auth::auth(connection, request).await).into(),
        request => match authorize::authorize(connection, &credentials).await {
            Ok(login) => authorized(connection, &login, request).await,
            Err(failure) => {
                let failed = Response::failed(request.action(), failure.clone());
                failed.unwrap_or(Response::unknown(failure)).into()
            }
        },
    }
}

async fn authorized(connection: &Connection, login: &Login, request: Request) -> Reply {
    let shared = &*connection.shared;
    if let Request::SendMessage(request) = request {
        return match message::prepare(connection, login, request) {
            Ok(new) => message::send(connection, &new).await,
            Err(failure) => Response::SendMessage(Err(failure)).into(),
        };
    }
    login.touch(shared.now());
    let response = match request {
        Request::UserInfo(request) => UserInfo::response(userinfo::read(shared, request).await),
        Request::SetUserInfo(request) => {
            Response::SetUserInfo(userinfo::change(shared, login, request).await)
        }
        Request::ContactList(_) => Response::ContactList(contacts::list(shared, login).await),
        Request::AddContact(request) => {
            AddContact::response(contacts::add(shared, login, request).await)
        }
        Request::DelContact(request) => {
            Response::DelContact(contacts::remove(shared, login, request).await)
        }
        Request::Import(request) => Response::Import(import::import(shared, login, request).await),
        Request::Ack(request) => Response::Ack(ack::ack(connection, login, &request).await),
        other => Response::unknown(failures::not_here(other.action())),
    };
    response.into()
}
