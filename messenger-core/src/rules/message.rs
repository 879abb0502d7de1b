//! `message`: stored for its recipient, then answered, then told.

use super::check;
use super::failures::{empty, no_such_user};
use super::userinfo::adopt;
use crate::engine::Shared;
use crate::notifier::Notice;
use crate::session::{Begun, Connection, Login, Reply};
use crate::storage::{AppendError, Appended, NewMessage};
use messenger_proto::{
    EvMessage, Event, Failure, Message, MessageAccepted, Outbound, Response, SendMessage,
    SharedMessage,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stores the message, answers, and tells everyone concerned.
pub(super) async fn send(connection: &Connection, new: &NewMessage) -> Reply {
    match connection.shared.storage.append(new.clone()).await {
        Err(AppendError::NoSuchUser) => send_to_unknown(connection, new).await,
        appended => conclude(connection, new, appended),
    }
}

/// The same for a recipient whom the store does not know: once the authenticator knows them, it does.
async fn send_to_unknown(connection: &Connection, new: &NewMessage) -> Reply {
    let shared = &*connection.shared;
    // Messages behind this one must not pass it.
    let _adopting = Adopting::begin(&connection.adopting);
    match Box::pin(adopt(shared, &new.message.to)).await {
        Ok(true) => conclude(connection, new, shared.storage.append(new.clone()).await),
        Ok(false) => failed(no_such_user()),
        Err(failure) => failed(failure),
    }
}

/// The same as [`send`], at once if the store does not have to wait and knows the recipient. `is_only` says that
/// the sender has no other connection, which would be told too.
#[inline]
pub(super) fn begin(connection: &Arc<Connection>, new: NewMessage, is_only: bool) -> Begun {
    let shared = &*connection.shared;
    match shared.storage.append_now(&new) {
        Some(Ok(appended)) => {
            shared.meters.sent.count();
            Begun::Answered(answer(connection, &new, appended, is_only))
        }
        None => under_way(connection, new, false),
        Some(Err(AppendError::NoSuchUser)) => under_way(connection, new, true),
        Some(Err(error)) => refuse(connection, counted(shared, error).into()),
    }
}

/// A message that waits: for the store, or for somebody it does not know to be looked up.
fn under_way(connection: &Arc<Connection>, new: NewMessage, is_unknown: bool) -> Begun {
    let connection = Arc::clone(connection);
    Begun::UnderWay(Box::pin(async move {
        let reply = if is_unknown {
            send_to_unknown(&connection, &new).await
        } else {
            send(&connection, &new).await
        };
        connection.shared.meters.answered(&reply.response);
        reply
    }))
}

/// The answer to a message that is not stored.
pub(super) fn refuse(connection: &Connection, failure: Failure) -> Begun {
    let reply = failed(failure);
    connection.shared.meters.answered(&reply.response);
    Begun::Answered(reply)
}

fn failed(failure: Failure) -> Reply {
    Response::SendMessage(Err(failure)).into()
}

/// Makes a message of a request that is the login's.
#[inline]
pub(super) fn prepare(
    connection: &Connection,
    login: &Login,
    request: SendMessage,
) -> Result<NewMessage, Failure> {
    let shared = &*connection.shared;
    let now = shared.now();
    login.touch(now);
    check_limits(connection, &request)?;
    if let Some(limiters) = &shared.limiters {
        limiters.message(&login.budget, now)?;
    }
    Ok(NewMessage {
        message: SharedMessage::from(Message {
            from: login.user().clone(),
            nick: login.nick.clone(),
            body: request.body,
            time: now.as_secs(),
            attach: request.attach,
            to: request.uid,
            id: connection.next_message(),
        }),
        mid: request.mid.filter(|mid| !mid.is_empty()),
        mid_forgotten_before: now.before(shared.policy.mid_lifetime),
        now,
        limits: shared.policy.limits.inbox,
    })
}

/// Answers what the store has made of it.
fn conclude(
    connection: &Connection,
    new: &NewMessage,
    appended: Result<Appended, AppendError>,
) -> Reply {
    match appended {
        Ok(appended) => answer(connection, new, appended, false),
        Err(error) => failed(counted(&connection.shared, error).into()),
    }
}

/// Answers, with the sender's own copy behind it, and tells everyone concerned.
#[inline]
fn answer(connection: &Connection, new: &NewMessage, appended: Appended, is_only: bool) -> Reply {
    let message = &new.message;
    // A message to oneself arrives as what it is; a copy beside it would be one too many.
    let echo = connection.shared.policy.echo && message.from != message.to;
    let (id, time, copy) = match appended {
        Appended::Stored { seq } => {
            tell(connection, new, seq, echo && !is_only);
            let copy = echo.then(|| message.clone());
            (message.id.clone(), message.time, copy)
        }
        Appended::Duplicate { id, time } => {
            // Whoever sends again has lost the reply, and with it the copy that was behind it.
            let copy = echo.then(|| {
                SharedMessage::from(Message {
                    id: id.clone(),
                    time,
                    ..(**message).clone()
                })
            });
            (id, time, copy)
        }
    };
    Reply {
        response: Response::SendMessage(Ok(MessageAccepted { id, time })),
        follow: copy.map(|message| {
            let copy = EvMessage { seq: None, message };
            Outbound::Event(Event::Message(copy))
        }),
    }
}

/// Tells the sender's other connections, if they are to have a copy, and the recipient's.
fn tell(connection: &Connection, new: &NewMessage, seq: u64, others: bool) {
    let shared = &*connection.shared;
    let message = &new.message;
    shared.meters.accepted.count();
    if others {
        let copy = Notice::Copy {
            origin: connection.id,
            message: message.clone(),
        };
        shared.notifier.notify(&message.from, copy);
    }
    let stored = Notice::Inbox {
        seq,
        accepted: new.now,
        message: Some(message.clone()),
    };
    shared.notifier.notify(&message.to, stored);
}

fn check_limits(connection: &Connection, request: &SendMessage) -> Result<(), Failure> {
    let limits = &connection.shared.policy.limits;
    check::at_most_bytes("body", request.body.as_str(), limits.body)?;
    check::at_most_chars("mime", &request.attach.mime, limits.mime)?;
    if let Some(mid) = &request.mid {
        check::at_most_bytes("mid", mid, limits.mid)?;
    }
    if request.body.is_empty() && request.attach.data.is_empty() {
        return Err(empty("body"));
    }
    Ok(())
}

/// Counts a full inbox.
fn counted(shared: &Shared, error: AppendError) -> AppendError {
    if let AppendError::InboxFull = error {
        shared.meters.inbox_full.increment(1);
    }
    error
}

/// Counted while it lives.
struct Adopting<'a>(&'a AtomicUsize);

impl<'a> Adopting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Adopting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
