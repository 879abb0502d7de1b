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
/// A `message` is made of its request before the future begins, which then holds no more than that,
/// and every other request has a future of its own: there are many messages at once, and a future that
/// could be of any kind would be some KiB large.
#[inline]
pub(crate) fn carry_out(
    connection: Arc<Connection>,
    inbound: Inbound,
) -> impl Future<Output = Reply> + Send + 'static {
    let Inbound {
        credentials,
        request,
    } = inbound;
    let begun = match request {
        Request::SendMessage(request) => match authorize::own(&connection, &credentials) {
            Some(login) => Ok(message::prepare(&connection, &login, request)),
            None => Err((credentials, request.into())),
        },
        request => Err((credentials, request)),
    };
    let mut begun = begun.map_err(|(credentials, request)| {
        Box::pin(answer(Arc::clone(&connection), credentials, request))
    });
    async move {
        let reply = match &mut begun {
            Ok(message) => message::message(&connection, message).await,
            Err(other) => other.await,
        };
        connection.shared.meters.answered(&reply.response);
        reply
    }
}

async fn answer(connection: Arc<Connection>, credentials: Credentials, request: Request) -> Reply {
    let connection = &connection;
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
        let message = message::prepare(connection, login, request);
        return message::message(connection, &message).await;
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
