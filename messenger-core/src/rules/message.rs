//! `message`: a request becomes a message, which a moderator may look at, and which is stored.

use super::failures::empty;
use super::{check, moderation, storing};
use crate::clock::Timestamp;
use crate::connection_state::{ConnectionState, Login};
use crate::reply::Started;
use crate::storage::NewMessage;
use crate::taken::{Moment, Queue, Taken};
use messenger_proto::{Failure, Message, SendMessage};
use std::ops::Deref;
use std::sync::Arc;

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
        Err(failure) => return Started::Done(storing::refuse(connection, failure)),
    };
    begin(connection, new, is_only)
}

/// Begins a message: it is stored, once a moderator has looked at it if there is one. `is_only` says that the sender has
/// no other connection, which would be told too.
#[inline]
pub(super) fn begin(connection: &Arc<ConnectionState>, new: NewMessage, is_only: bool) -> Started {
    match &connection.shared.moderator {
        None => storing::store(connection, new, is_only),
        Some(moderator) => moderation::start(connection, moderator, new, is_only),
    }
}

/// Begins the messages at the front of the queue, which were handed over together. One that waits for a moderator leaves
/// those behind it there.
pub(super) fn begin_together(
    connection: &Arc<ConnectionState>,
    taken: &mut Queue,
    mut begun: impl FnMut(Started, usize),
) {
    let own = connection.authenticated();
    let is_only = own.is_some_and(|own| own.login.is_only());
    if connection.shared.moderator.is_none() {
        storing::store_together(connection, is_only, taken, begun);
    } else if let Some((Taken::Message(new), length)) = taken.pop_front() {
        begun(begin(connection, new, is_only), length);
    }
}

/// Makes a message of a request, to be started together with those of the same moment.
#[inline]
pub(super) fn take(connection: &ConnectionState, moment: &Moment, request: SendMessage) -> Taken {
    match prepare(connection, &moment.login, request, moment.now) {
        Ok(new) => Taken::Message(new),
        Err(failure) => Taken::Answered(storing::refuse(connection, failure)),
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
