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

pub(crate) use authorize::is_own;
pub(crate) use failures::{need_auth, too_many};

use crate::session::{Connection, Login, Reply};
use messenger_proto::{Credentials, Inbound, Request, Response};
use std::sync::Arc;

/// Carries out one request.
///
/// The future of a `message` stands on its own, because there are many of them at once: with all the
/// others within it would be some KiB large.
pub(crate) async fn carry_out(connection: Arc<Connection>, inbound: Inbound) -> Reply {
    let Inbound {
        credentials,
        request,
    } = inbound;
    let reply = match request {
        Request::SendMessage(request) => match authorize::own(&connection, &credentials) {
            Some(login) => message::message(&connection, &login, request).await,
            None => Box::pin(answer(&connection, credentials, request.into())).await,
        },
        request => Box::pin(answer(&connection, credentials, request)).await,
    };
    connection.shared.meters.answered(&reply.response);
    reply
}

async fn answer(connection: &Arc<Connection>, credentials: Credentials, request: Request) -> Reply {
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
        return message::message(connection, login, request).await;
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
