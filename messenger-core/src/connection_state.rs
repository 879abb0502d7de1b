//! What a connection is, for the rules that work on it.

mod feed;
mod login;

pub(crate) use login::{Identified, Login};

use crate::delivery::{Delivery, Event, EventsEnded};
use crate::notifier::ConnectionId;
use crate::reply::Reply;
use crate::shared::Shared;
use crate::storage::UserNumber;
use feed::Feed;
use messenger_proto::{MessageId, Outbound, Response};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// How many messages are given at once at the most.
const AT_ONCE: usize = 16;

/// No further one is once these come to so many bytes.
const AT_ONCE_BYTES: usize = 16 * 1024;

pub(crate) struct ConnectionState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ConnectionId,
    /// Where it comes from, if it is known.
    pub(crate) peer: Option<IpAddr>,
    authenticated: Mutex<Option<Authenticated>>,
    /// It is unauthenticated because its session was ended.
    session_has_ended: AtomicBool,
    /// Messages that wait for a moderator, or for the authenticator to tell who their recipient is.
    pub(crate) blocking: AtomicUsize,
    /// How its messages' ids begin.
    message_prefix: Box<str>,
    /// How many messages it has sent.
    sent: AtomicU64,
}

/// Whose a connection is, and the messages they are given. It lies under one lock, which is taken twice a
/// message: when it is sent and when it is delivered.
pub(crate) struct Authenticated {
    pub(crate) login: Arc<Login>,
    feed: Feed,
}

impl ConnectionState {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<IpAddr>) -> Self {
        let id = shared.next_connection();
        let ConnectionId { engine, number } = id;
        Self {
            id,
            peer,
            message_prefix: format!("{}-{number}-", base36(engine)).into(),
            shared,
            authenticated: Mutex::default(),
            session_has_ended: AtomicBool::new(false),
            blocking: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// A reply, which is counted here.
    #[inline]
    pub(crate) fn reply(&self, response: Response, follow: Option<Outbound>) -> Reply {
        self.shared.meters.answered(&response);
        Reply { response, follow }
    }

    /// An id that no other message has, of this or any other engine.
    pub(crate) fn next_message(&self) -> MessageId {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut digits = itoa::Buffer::new();
        [&*self.message_prefix, digits.format(sent)]
            .into_iter()
            .collect()
    }

    /// As whom the connection is authenticated.
    pub(crate) fn login(&self) -> Option<Arc<Login>> {
        self.authenticated().map(|own| Arc::clone(&own.login))
    }

    /// As whom the connection is authenticated, and stays so meanwhile.
    #[inline]
    pub(crate) fn authenticated(&self) -> Option<MappedMutexGuard<'_, Authenticated>> {
        let mut authenticated = self.authenticated.lock();
        if let Some(ended) = authenticated.take_if(|own| own.login.mailbox.has_ended()) {
            self.session_has_ended.store(true, Ordering::Release);
            // Dropped without the lock: it unsubscribes.
            drop(authenticated);
            drop(ended);
            return None;
        }
        MutexGuard::try_map(authenticated, Option::as_mut).ok()
    }

    /// True when this login was given the message of this number, or a later one, through here.
    pub(crate) fn has_given(&self, login: &Login, seq: u64) -> bool {
        let own = self.authenticated();
        own.is_some_and(|own| own.login.number == login.number && own.feed.has_given(seq))
    }

    pub(crate) fn set_login(&self, login: Arc<Login>) {
        let feed = Feed::default();
        let before = self
            .authenticated
            .lock()
            .replace(Authenticated { login, feed });
        self.session_has_ended.store(false, Ordering::Release);
        // Dropped without the lock: it unsubscribes.
        drop(before);
    }

    /// Ends the session, if it is still this user's: the user is no more.
    pub(crate) fn end_login_of(&self, user: UserNumber) {
        let login = self.login();
        if let Some(login) = login.filter(|login| login.device.user_number == user) {
            login.end();
        }
    }

    /// The connection is unauthenticated again.
    pub(crate) fn log_out(&self) {
        let before = self.authenticated.lock().take();
        // As above.
        drop(before);
    }

    /// The next message for whoever is authenticated; see [`Connection`](crate::Connection::poll_event).
    pub(crate) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<Delivery, EventsEnded>> {
        self.poll_feed(|feed, login| feed.poll(login, &self.shared, cx))
    }

    /// Some of the next messages, in their order, if there are any: as many calls of [`poll_event`](Self::poll_event)
    /// that look only once whose the connection is. `events` is empty before.
    pub(crate) fn poll_events(
        &self,
        events: &mut VecDeque<Delivery>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), EventsEnded>> {
        self.poll_feed(|feed, login| {
            let mut bytes = 0;
            // A large message comes alone: until it is asked for it stays where others share it, or in the store.
            let may_be_large = |feed: &Feed| {
                feed.next_size()
                    .map_or(feed.is_behind(), |size| size > AT_ONCE_BYTES)
            };
            while events.is_empty()
                || (events.len() < AT_ONCE && bytes < AT_ONCE_BYTES && !may_be_large(feed))
            {
                match feed.poll(login, &self.shared, cx) {
                    Poll::Ready(Ok(delivery)) => {
                        let Event::Message(event) = &delivery.event;
                        bytes += event.message.size();
                        events.push_back(delivery);
                    }
                    Poll::Ready(Err(ended)) if events.is_empty() => return Poll::Ready(Err(ended)),
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
            match events.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(Ok(())),
            }
        })
    }

    /// What the feed of whoever is authenticated gives. When that is nothing, their session may have ended.
    #[inline]
    fn poll_feed<T>(
        &self,
        poll: impl FnOnce(&mut Feed, &Login) -> Poll<Result<T, EventsEnded>>,
    ) -> Poll<Result<T, EventsEnded>> {
        let Some(mut own) = self.authenticated() else {
            return self.poll_ended();
        };
        let Authenticated { login, feed } = &mut *own;
        let polled = poll(feed, login);
        if polled.is_pending() && login.mailbox.has_ended() {
            drop(own);
            let _ = self.authenticated();
            return self.poll_ended();
        }
        polled
    }

    fn poll_ended<T>(&self) -> Poll<Result<T, EventsEnded>> {
        if self.session_has_ended.load(Ordering::Acquire) {
            return Poll::Ready(Err(EventsEnded::SessionEnded));
        }
        Poll::Pending
    }

    /// False until the first page of what waited at log-in was given, or could not be read.
    pub(crate) fn has_caught_up(&self) -> bool {
        let own = self.authenticated();
        own.is_none_or(|own| own.feed.has_caught_up())
    }

    /// Ready once the session has ended, without taking an event; the task is woken when it does.
    pub(crate) fn poll_session_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.authenticated() {
            Some(own) => own.login.mailbox.poll_ended(cx),
            None => self.poll_ended::<()>().map(drop),
        }
    }
}

/// The number in digits and small letters, to keep ids short.
fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
    }
    digits.into_iter().rev().collect()
}
