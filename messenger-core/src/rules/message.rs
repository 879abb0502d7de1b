//! `message`: stored for its recipient, then answered, then told.

use super::failures::{empty, no_such_user};
use super::telling::Telling;
use super::{check, external_user, moderation};
use crate::clock::Timestamp;
use crate::connection_state::{ConnectionState, Login};
use crate::names;
use crate::notifier::Notice;
use crate::reply::{Reply, Started};
use crate::shared::Shared;
use crate::storage::{AppendError, Appended, NewMessage};
use crate::taken::{Moment, Queue, Taken};
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
    let now = connection.shared.now();
    login.touch(now);
    let prepared = prepare(connection, &login, request, now);
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
    let appended = connection.shared.storage.append_now(&[&new]);
    let appended = appended.and_then(|mut appended| appended.pop());
    let mut telling = Telling::new(connection, is_only, 1);
    settle(connection, new, appended, &mut telling)
}

/// Starts the messages at the front of the queue, which were handed over together: the store and the notifier are asked
/// once for those that go to one recipient. What becomes of each goes to `started`, with the length of its frame.
///
/// One whose recipient must be looked up leaves those behind it in the queue.
pub(super) fn start_together(
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
                let is_last = matches!(appended, Some(Err(AppendError::NoSuchUser)));
                started(settle(connection, new, appended, &mut telling), length);
                if is_last {
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
            appended => {
                let mut telling = Telling::new(&connection, false, 1);
                return conclude(&connection, new, appended, &mut telling);
            }
        }
    }
    let _blocking = Blocking::begin(&connection);
    match Box::pin(find_recipient(shared, new)).await {
        Ok(Some(new)) => {
            let appended = shared.storage.append(new.clone()).await;
            let mut telling = Telling::new(&connection, false, 1);
            conclude(&connection, new, appended, &mut telling)
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

/// Makes a message of a request, to be started together with those of the same moment.
#[inline]
pub(super) fn take(connection: &ConnectionState, moment: &Moment, request: SendMessage) -> Taken {
    match prepare(connection, &moment.login, request, moment.now) {
        Ok(new) => Taken::Message(new),
        Err(failure) => Taken::Answered(refuse(connection, failure)),
    }
}

/// Makes a message of a request that is the login's.
#[inline]
fn prepare(
    connection: &ConnectionState,
    login: &Login,
    request: SendMessage,
    now: Timestamp,
) -> Result<NewMessage, Failure> {
    let shared = &*connection.shared;
    check_limits(connection, &request)?;
    if let Some(limiters) = &shared.limiters {
        let attach = &request.attach;
        let bytes = request.body.as_str().len() + attach.mime.len() + attach.data.as_str().len();
        let steady = shared.clock.steady_at(now);
        limiters.message(&login.budget, bytes, steady)?;
    }
    let mid = request.mid.filter(|mid| !mid.is_empty());
    let mid_lifetime = shared.policy.mid_lifetime;
    let (id, from) = (connection.next_message(), login.user().clone());
    let mut message = Message::new(id, from, request.uid, now.as_secs());
    message.nick = login.nick.clone();
    message.body = request.body;
    message.attach = request.attach;
    Ok(NewMessage {
        message: message.into(),
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
