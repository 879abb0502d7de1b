//! `message`: stored for its recipient, then answered, then told.

use super::check;
use super::failures::{empty, no_such_user};
use super::userinfo::adopt;
use crate::notifier::Notice;
use crate::session::{Connection, Login, Reply};
use crate::storage::{AppendError, Appended, NewMessage};
use messenger_proto::{
    EvMessage, Event, Failure, Message, MessageAccepted, Outbound, Response, SendMessage,
    SharedMessage,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stores what was [prepared](prepare), and tells everyone concerned.
pub(super) async fn message(
    connection: &Connection,
    prepared: &Result<NewMessage, Failure>,
) -> Reply {
    let sent = match prepared {
        Ok(new) => send(connection, new).await,
        Err(failure) => Err(failure.clone()),
    };
    match sent {
        Ok((accepted, copy)) => Reply {
            response: Response::SendMessage(Ok(accepted)),
            follow: copy.map(|message| {
                let copy = EvMessage { seq: None, message };
                Outbound::Event(Event::Message(copy))
            }),
        },
        Err(failure) => Response::SendMessage(Err(failure)).into(),
    }
}

/// Makes a message of a request that is the login's.
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
        limiters.message(&login.device.key)?;
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

/// Stores the message and tells everyone concerned; the sender's own copy comes back.
async fn send(
    connection: &Connection,
    new: &NewMessage,
) -> Result<(MessageAccepted, Option<SharedMessage>), Failure> {
    let shared = &*connection.shared;
    let message = &new.message;
    // A message to oneself arrives as what it is; a copy beside it would be one too many.
    let echo = shared.policy.echo && message.from != message.to;
    match append(connection, new).await? {
        Appended::Stored { seq } => {
            shared.meters.accepted.count();
            let accepted = MessageAccepted {
                id: message.id.clone(),
                time: message.time,
            };
            if echo {
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
            Ok((accepted, echo.then(|| message.clone())))
        }
        Appended::Duplicate { id, time } => {
            // Whoever sends again has lost the reply, and with it the copy that was behind it.
            let copy = Message {
                id: id.clone(),
                time,
                ..(**message).clone()
            };
            Ok((MessageAccepted { id, time }, echo.then(|| copy.into())))
        }
    }
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

async fn append(connection: &Connection, new: &NewMessage) -> Result<Appended, Failure> {
    let shared = &*connection.shared;
    match shared.storage.append(new.clone()).await {
        Err(AppendError::NoSuchUser) => {
            // Messages behind this one must not pass it.
            let _adopting = Adopting::begin(&connection.adopting);
            if !Box::pin(adopt(shared, &new.message.to)).await? {
                return Err(no_such_user());
            }
            Ok(shared.storage.append(new.clone()).await?)
        }
        Err(full @ AppendError::InboxFull) => {
            shared.meters.inbox_full.increment(1);
            Err(full.into())
        }
        appended => Ok(appended?),
    }
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
