//! `message`: stored for its recipient, then answered, then told.

use super::failures::{empty, no_such_user};
use super::{check, external_user, moderation};
use crate::clock::Timestamp;
use crate::connection_state::{ConnectionState, Login};
use crate::names;
use crate::notifier::Notice;
use crate::reply::{Reply, Started};
use crate::shared::Shared;
use crate::storage::{AppendError, Appended, NewMessage, UserNumber};
use messenger_proto::{
    Action, EvMessage, Event, Failure, Message, MessageAccepted, Outbound, SendMessage,
    SharedMessage,
};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Starts a message of a client that is authenticated as `login`: it is carried out at once if the store does
/// not have to wait and knows the recipient.
///
/// The message is made of its request before a future begins, which then holds no more than that, and is
/// put at once where it stays: there are many of them at once.
#[inline]
pub(super) fn start(
    connection: &Arc<ConnectionState>,
    login: impl Deref<Target = Arc<Login>>,
    request: SendMessage,
) -> Started {
    let is_only = login.is_only();
    let prepared = prepare(connection, &login, request);
    drop(login);
    let new = match prepared {
        Ok(new) => new,
        Err(failure) => return Started::Done(refuse(connection, failure)),
    };
    match &connection.shared.moderator {
        None => store(connection, new, is_only),
        Some(moderator) => moderation::start(connection, moderator, new, is_only),
    }
}

/// Starts to store a message. `is_only` says that the sender has no other connection, which would be told too.
#[inline]
pub(super) fn store(connection: &Arc<ConnectionState>, new: NewMessage, is_only: bool) -> Started {
    let recipient = match connection.shared.storage.append_now(&new) {
        Some(Err(AppendError::NoSuchUser)) => Recipient::Unknown,
        Some(appended) => return Started::Done(conclude(connection, new, appended, is_only)),
        None => Recipient::Unasked,
    };
    let message = wait(Arc::clone(connection), new, recipient);
    Started::Pending(Box::pin(message))
}

/// True while a message waits for a moderator, or for its recipient to be looked up: those behind it must not pass it.
pub(super) fn must_wait(connection: &ConnectionState) -> bool {
    connection.blocking.load(Ordering::Acquire) > 0
}

/// Whether the store knows the recipient of a message.
enum Recipient {
    /// It has not been asked.
    Unasked,
    /// It does not.
    Unknown,
}

/// Carries out a message that waits: for the store, or for the authenticator to tell who its recipient is.
async fn wait(connection: Arc<ConnectionState>, new: NewMessage, recipient: Recipient) -> Reply {
    let shared = &*connection.shared;
    if let Recipient::Unasked = recipient {
        match shared.storage.append(new.clone()).await {
            Err(AppendError::NoSuchUser) => {}
            appended => return conclude(&connection, new, appended, false),
        }
    }
    let _blocking = Blocking::begin(&connection);
    match Box::pin(find_recipient(shared, new)).await {
        Ok(Some(new)) => {
            let appended = shared.storage.append(new.clone()).await;
            conclude(&connection, new, appended, false)
        }
        Ok(None) => refuse(&connection, no_such_user()),
        Err(failure) => refuse(&connection, failure),
    }
}

/// The message, to whoever its recipient's login means, and the store knows them. `None` when that is nobody.
async fn find_recipient(
    shared: &Shared,
    mut new: NewMessage,
) -> Result<Option<NewMessage>, Failure> {
    if external_user::resolve(shared, &new.message.to).await? {
        return Ok(Some(new));
    }
    let most = shared.policy.limits.name;
    let Some(kept) = names::other_spelling(new.message.to.as_str(), most) else {
        return Ok(None);
    };
    let mut message = (*new.message).clone();
    message.to = kept.into();
    let is_known = shared.storage.profile(&message.to).await?.is_some()
        || external_user::resolve(shared, &message.to).await?;
    new.message = message.into();
    Ok(is_known.then_some(new))
}

/// The answer to a message that is not stored.
pub(super) fn refuse(connection: &ConnectionState, failure: Failure) -> Reply {
    connection.reply(SendMessage::fail(failure), None)
}

/// Makes a message of a request that is the login's.
#[inline]
fn prepare(
    connection: &ConnectionState,
    login: &Login,
    request: SendMessage,
) -> Result<NewMessage, Failure> {
    let shared = &*connection.shared;
    let now = connection.now();
    login.touch(now);
    check_limits(connection, &request)?;
    if let Some(limiters) = &shared.limiters {
        let attach = &request.attach;
        let bytes = request.body.as_str().len() + attach.mime.len() + attach.data.as_str().len();
        let steady = shared.clock.steady_at(now);
        limiters.message(&login.budget, bytes, steady)?;
    }
    let mid = request.mid.filter(|mid| !mid.is_empty());
    let mid_lifetime = shared.policy.mid_lifetime;
    Ok(NewMessage {
        message: SharedMessage::from(
            Message::new(
                connection.next_message(),
                login.user().clone(),
                request.uid,
                now.as_secs(),
            )
            .nick(login.nick.clone())
            .body(request.body)
            .attach(request.attach),
        ),
        sender: Some(login.device.user_number),
        mid_forgotten_before: match mid {
            Some(_) => shared.out_of_date(mid_lifetime),
            None => Timestamp::default(),
        },
        mid,
        now,
        limits: shared.policy.limits.inbox,
    })
}

/// Answers what the store has made of it.
#[inline]
fn conclude(
    connection: &ConnectionState,
    new: NewMessage,
    appended: Result<Appended, AppendError>,
    is_only: bool,
) -> Reply {
    match appended {
        Ok(appended) => answer(connection, new, appended, is_only),
        Err(error) => {
            if let AppendError::InboxFull = error {
                connection.shared.meters.inbox_full.increment(1);
            }
            if let (AppendError::NoSuchSender, Some(sender)) = (&error, new.sender) {
                connection.end_login_of(sender);
            }
            if let AppendError::Storage(error) = &error
                && error.is_unknown()
            {
                // It may be there: the recipient need not wait for the next time that everybody looks.
                let notifier = &connection.shared.notifier;
                notifier.notify(&new.message.to, Notice::Resync);
            }
            refuse(connection, error.into())
        }
    }
}

/// Answers, with the sender's own copy behind it, and tells everyone concerned.
#[inline]
fn answer(
    connection: &ConnectionState,
    new: NewMessage,
    appended: Appended,
    is_only: bool,
) -> Reply {
    let message = &new.message;
    // A message to oneself arrives as what it is; a copy beside it would be one too many.
    let echo = connection.shared.policy.echo && message.from != message.to;
    let (id, time, copy) = match appended {
        Appended::Stored {
            seq,
            recipient,
            dropped,
        } => {
            if dropped > 0 {
                connection.shared.meters.dropped.increment(dropped);
            }
            tell(connection, &new, (recipient, seq), echo && !is_only);
            let (id, time) = (message.id.clone(), message.time);
            (id, time, echo.then_some(new.message))
        }
        Appended::Duplicate { id, time } => {
            // Whoever sends again has lost the reply, and with it the copy that was behind it.
            let copy = echo.then(|| {
                let mut first = (**message).clone();
                first.id = id.clone();
                first.time = time;
                SharedMessage::from(first)
            });
            (id, time, copy)
        }
    };
    let follow = copy.map(|message| {
        let copy = EvMessage::new(None, message);
        Outbound::Event(Event::Message(copy))
    });
    connection.reply(
        SendMessage::response(Ok(MessageAccepted::new(id, time))),
        follow,
    )
}

/// Tells the sender's other connections, if they are to have a copy, and the recipient's.
fn tell(
    connection: &ConnectionState,
    new: &NewMessage,
    (to, seq): (UserNumber, u64),
    others: bool,
) {
    let shared = &*connection.shared;
    let message = &new.message;
    shared.meters.accepted.count();
    if let (true, Some(from)) = (others, new.sender) {
        let copy = Notice::Copy {
            from,
            origin: connection.id,
            message: message.clone(),
        };
        shared.notifier.notify(&message.from, copy);
    }
    let stored = Notice::Inbox {
        to,
        seq,
        accepted: new.now,
        message: Some(message.clone()),
    };
    shared.notifier.notify(&message.to, stored);
    if let Some(offline) = &shared.offline
        && !shared.online.has(to)
        && !offline.send(EvMessage::new(Some(seq), message.clone()))
    {
        shared.meters.offline_messages.increment(1);
    }
}

fn check_limits(connection: &ConnectionState, request: &SendMessage) -> Result<(), Failure> {
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

/// A message of this connection that those behind it must not pass, while this lives.
pub(super) struct Blocking(Arc<ConnectionState>);

impl Blocking {
    pub(super) fn begin(connection: &Arc<ConnectionState>) -> Self {
        connection.blocking.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(connection))
    }

    pub(super) fn connection(&self) -> &Arc<ConnectionState> {
        &self.0
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.0.blocking.fetch_sub(1, Ordering::AcqRel);
    }
}
