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

pub(crate) use failures::need_auth;

use crate::session::{Begun, Connection, Login, Owner, Reply, Running};
use messenger_proto::{Inbound, Request, Response};
use parking_lot::MappedMutexGuard;
use std::future::ready;
use std::sync::Arc;

/// Carries out one request.
pub(crate) fn carry_out(connection: &Arc<Connection>, inbound: Inbound) -> Running {
    match own_message(connection, inbound) {
        Begun::Answered(reply) => Box::pin(ready(reply)),
        Begun::UnderWay(message) => message,
        Begun::NotYet(inbound) => Box::pin(answer(Arc::clone(connection), inbound)),
    }
}

/// Carries out a `message` that is the connection's own as it stands; anything else is given back.
///
/// The message is made of its request before a future begins, which then holds no more than that, and is
/// put at once where it stays: there are many of them at once.
#[inline]
pub(crate) fn own_message(connection: &Arc<Connection>, inbound: Inbound) -> Begun {
    let Request::SendMessage(request) = inbound.request else {
        return Begun::NotYet(inbound);
    };
    let credentials = inbound.credentials;
    let is_own =
        |owner: &MappedMutexGuard<'_, Owner>| authorize::is_own(&owner.login, &credentials);
    let Some(owner) = connection.owner().filter(is_own) else {
        let request = request.into();
        return Begun::NotYet(Inbound {
            credentials,
            request,
        });
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
        Request::Auth(request) => Response::Auth(auth::auth(connection, request).await).into(),
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
        Request::UserInfo(request) => Response::UserInfo(userinfo::read(shared, request).await),
        Request::SetUserInfo(request) => {
            Response::SetUserInfo(userinfo::change(shared, login, request).await)
        }
        Request::ContactList(_) => Response::ContactList(contacts::list(shared, login).await),
        Request::AddContact(request) => {
            Response::AddContact(contacts::add(shared, login, request).await)
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
