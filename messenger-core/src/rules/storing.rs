//! A message that is ready: stored for its recipient, then answered, then told.

use super::external_user;
use super::failures::no_such_user;
use super::telling::Telling;
use crate::connection_state::ConnectionState;
use crate::names;
use crate::notifier::Notice;
use crate::reply::{Reply, Started};
use crate::shared::Shared;
use crate::storage::{AppendError, Appended, NewMessage};
use crate::taken::{Queue, Taken};
use crate::timed_storage;
use messenger_proto::{
    Action, EvMessage, Event, Failure, MessageAccepted, Outbound, SendMessage, SharedMessage,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Starts to store a message. `is_only` says that the sender has no other connection, which would be told too.
#[inline]
pub(super) fn store(connection: &Arc<ConnectionState>, new: NewMessage, is_only: bool) -> Started {
    let appended = connection.shared.storage.append_now(&[&new]);
    let appended = appended.and_then(|mut appended| appended.pop());
    let mut telling = Telling::new(connection, is_only, 1);
    settle(connection, new, appended, &mut telling)
}

/// Stores the messages at the front of the queue, which were handed over together: the store and the notifier are asked
/// once for those that go to one recipient. What becomes of each goes to `started`, with the length of its frame.
///
/// One whose recipient must be looked up leaves those behind it in the queue.
pub(super) fn store_together(
    connection: &Arc<ConnectionState>,
    is_only: bool,
    taken: &mut Queue,
    mut started: impl FnMut(Started, usize),
) {
    let count = taken.ready().count();
    let mut new = Vec::with_capacity(count);
    new.extend(taken.ready().filter_map(Taken::message));
    let appended = connection.shared.storage.append_now(&new);
    let mut appended = appended.map(Vec::into_iter);
    let mut telling = Telling::new(connection, is_only, count);
    for _ in 0..count {
        match taken.pop_front() {
            Some((Taken::Message(new), length)) => {
                let appended = appended.as_mut().and_then(Iterator::next);
                started(settle(connection, new, appended, &mut telling), length);
                if must_wait(connection) {
                    return;
                }
            }
            Some((Taken::Answered(reply), length)) => started(Started::Done(reply), length),
            _ => return,
        }
    }
}

/// Goes on with a message that the store has answered at once, or `None` if it has not.
#[inline]
fn settle(
    connection: &Arc<ConnectionState>,
    new: NewMessage,
    appended: Option<Result<Appended, AppendError>>,
    telling: &mut Telling<'_>,
) -> Started {
    let recipient = match appended {
        Some(Err(AppendError::NoSuchUser)) => Recipient::Unknown,
        Some(appended) => return Started::Done(conclude(connection, new, appended, telling)),
        None => Recipient::Unasked,
    };
    let blocking = may_look_up(connection, &new, &recipient).then(|| Blocking::begin(connection));
    let message = wait(Arc::clone(connection), new, recipient, blocking);
    Started::Pending(Box::pin(message))
}

/// True when the recipient is not known to the store as they are written, or not likely to be.
fn may_look_up(connection: &ConnectionState, new: &NewMessage, recipient: &Recipient) -> bool {
    match recipient {
        Recipient::Unknown => true,
        Recipient::Unasked => other_spelling(&connection.shared, new).is_some(),
    }
}

/// How the recipient's login would be kept, if that is not how it is written.
fn other_spelling(shared: &Shared, new: &NewMessage) -> Option<String> {
    names::other_spelling(new.message.to.as_str(), shared.policy.limits.name)
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

/// Carries out a message that waits: for the store, or for the authenticator to tell who its recipient is. Those behind it
/// wait for it as well if it is blocking.
async fn wait(
    connection: Arc<ConnectionState>,
    new: NewMessage,
    recipient: Recipient,
    blocking: Option<Blocking>,
) -> Reply {
    let shared = &*connection.shared;
    if let Recipient::Unasked = recipient {
        match shared.storage.append(new.clone()).await {
            Err(AppendError::NoSuchUser) => {}
            appended => {
                let mut telling = Telling::new(&connection, false, 1);
                return conclude(&connection, new, appended, &mut telling);
            }
        }
    }
    let _blocking = blocking.unwrap_or_else(|| Blocking::begin(&connection));
    let looked_up = async {
        match find_recipient(shared, new).await {
            Ok(Some(new)) => {
                let appended = shared.storage.append(new.clone()).await;
                let mut telling = Telling::new(&connection, false, 1);
                conclude(&connection, new, appended, &mut telling)
            }
            Ok(None) => refuse(&connection, no_such_user()),
            Err(failure) => refuse(&connection, failure),
        }
    };
    Box::pin(timed_storage::together(looked_up)).await
}

/// The message, to whoever its recipient's login means, and the store knows them. `None` when that is nobody.
async fn find_recipient(
    shared: &Shared,
    mut new: NewMessage,
) -> Result<Option<NewMessage>, Failure> {
    if external_user::resolve(shared, &new.message.to).await? {
        return Ok(Some(new));
    }
    let Some(kept) = other_spelling(shared, &new) else {
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

/// Answers what the store has made of it.
#[inline]
fn conclude(
    connection: &ConnectionState,
    new: NewMessage,
    appended: Result<Appended, AppendError>,
    telling: &mut Telling<'_>,
) -> Reply {
    match appended {
        Ok(appended) => answer(connection, new, appended, telling),
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
    telling: &mut Telling<'_>,
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
            connection.shared.meters.accepted.count();
            telling.stored(&new, recipient, seq, echo);
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
