//! One connection as the engine sees it.

mod feed;
mod login;

pub(crate) use login::{Identified, Login};

use crate::clock::Timestamp;
use crate::engine::Shared;
use crate::notifier::ConnectionId;
use crate::rules;
use feed::Feed;
use messenger_proto::{
    Action, BadRequest, ErrorCode, EvMessage, Failure, Inbound, MessageId, Outbound, Response,
    UserId, Welcome,
};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// One connection: it takes requests, and gives replies and events. Dropping it ends it; what was
/// not given to it stays in the inbox.
///
/// ```text
///              register                    any request with cid+sid: resumed
///               ┌────┐                    ┌────────────────────────────────┐
///               │    ▼          auth      │                                ▼
/// connect ──▶ anonymous ────────────────────────────────────────────▶ authenticated ──▶ events
///               ▲                                                      │    │   ▲
///               └──────────── the session was ended ───────────────────┘    └───┘ auth
/// ```
///
/// A session may be used in two ways. A program without a socket (a bot) uses
/// [`call`](Self::call) and [`next_event`](Self::next_event). A server uses
/// [`handle`](Self::handle), [`refuse`](Self::refuse), [`poll_event`](Self::poll_event) and
/// [`given`](Self::given), which let it put replies and events in their order on the wire.
pub struct Session {
    connection: Arc<Connection>,
    /// Where the message stood that `next_event` has given last.
    handed: Option<Place>,
}

pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ConnectionId,
    /// Where it comes from, if it is known.
    pub(crate) peer: Option<IpAddr>,
    owner: Mutex<Option<Owner>>,
    /// Messages that wait for the authenticator to tell who their recipient is.
    pub(crate) adopting: AtomicUsize,
    /// How its messages' ids begin.
    message_prefix: Box<str>,
    /// How many messages it has sent.
    sent: AtomicU64,
}

/// Whose a connection is, and what they are given.
pub(crate) struct Owner {
    pub(crate) login: Arc<Login>,
    feed: Feed,
}

/// The answer to a request, and what belongs right behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    /// The answer.
    pub response: Response,
    /// What goes out right behind it: the sender's own copy of a message, or the `auth` reply that
    /// an older client waits for after `register`.
    pub follow: Option<Outbound>,
}

/// A request under way.
pub type Running = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What has become of a request.
#[allow(clippy::large_enum_variant)] // most are answered at once
pub enum Begun {
    /// It is carried out.
    Answered(Reply),
    /// It waits for the store.
    UnderWay(Running),
    /// Nothing: it must be [carried out](Session::handle) alone.
    NotYet(Inbound),
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(reply) => f.debug_tuple("Answered").field(reply).finish(),
            Self::UnderWay(_) => f.write_str("UnderWay"),
            Self::NotYet(inbound) => f.debug_tuple("NotYet").field(inbound).finish(),
        }
    }
}

/// A message for a connection.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub event: EvMessage,
    /// Where it stands in the inbox, to be [said](Session::given) when it has been given; `None` for
    /// the sender's own copy.
    pub place: Option<Place>,
}

/// A place in the inbox of whoever the connection belonged to when it was given the message there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    login: u64,
    seq: u64,
    /// The message's size.
    bytes: usize,
    /// When the message was accepted, if it came live.
    accepted: Option<Timestamp>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self {
            response,
            follow: None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection.id)
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<IpAddr>) -> Self {
        let id = shared.next_connection();
        let ConnectionId { engine, number } = id;
        let connection = Connection {
            id,
            peer,
            message_prefix: format!("{}-{number}-", base36(engine)).into(),
            shared,
            owner: Mutex::default(),
            adopting: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        };
        Self {
            connection: Arc::new(connection),
            handed: None,
        }
    }

    /// What the connection is called in logs.
    pub fn id(&self) -> ConnectionId {
        self.connection.id
    }

    /// Whose connection it is; `None` before authentication, and after its session was ended.
    pub fn user(&self) -> Option<UserId> {
        self.connection
            .login()
            .map(|login| login.device.user.clone())
    }

    /// What a new connection is greeted with.
    pub(crate) fn welcome(&self) -> Welcome {
        self.connection.shared.welcome()
    }

    /// Counts that no requests are read because too much is unsent.
    pub(crate) fn note_held_back(&self) {
        self.connection.shared.meters.max_outgoing.increment(1);
    }

    /// True while it is somebody's.
    pub fn is_authenticated(&self) -> bool {
        self.connection.owner().is_some()
    }

    /// Carries out one request and gives the result that belongs to it.
    ///
    /// The sender's own copy of a message is not repeated to it.
    ///
    /// # Errors
    /// The request failed; see the action in the protocol.
    pub async fn call<A: Action>(&self, action: A) -> Result<A::Accepted, Failure> {
        let reply = self.handle(Inbound::new(action)).await;
        A::result(reply.response).unwrap_or_else(|_| {
            let text = "the answer was to another request";
            Err(Failure::new(ErrorCode::Unavailable, text))
        })
    }

    /// Waits for the next message. Asking for the next one says that the one before was processed:
    /// it will not be given to this session again.
    ///
    /// `None` when the connection is nobody's, or has missed copies of its user's own messages
    /// because it was not asked for events; it should then be dropped.
    ///
    /// # Cancel safety
    /// A message is lost to no one when the future is dropped.
    pub async fn next_event(&mut self) -> Option<EvMessage> {
        let handed = self.handed.take();
        self.given(handed);
        let next = poll_fn(|cx| match self.poll_event(cx) {
            // Its end wakes the task.
            Poll::Pending if !self.is_authenticated() => Poll::Ready(None),
            polled => polled,
        });
        let delivery = next.await?;
        self.handed = delivery.place;
        Some(delivery.event)
    }

    /// Carries out one request: a `message` that does not [overlap](Self::overlap) with others, or anything
    /// else. It must wait for those before it, and those behind must wait for it.
    ///
    /// It may have begun before the future is polled. Dropping that leaves open whether the request was carried
    /// out.
    pub fn handle(&self, inbound: Inbound) -> Running {
        rules::carry_out(&self.connection, inbound)
    }

    /// Carries out a `message` of a client that is authenticated: it is stored without looking anything
    /// up first, at once if the store can do that, and many may be under way. Poll each that is at least
    /// once before the next is begun, and they are stored in that order.
    ///
    /// [Not yet](Begun::NotYet) when it is something else, or when one before it waits for its recipient to be
    /// looked up after all. Dropping its future leaves open whether the message was stored.
    #[inline]
    pub fn overlap(&self, inbound: Inbound) -> Begun {
        if self.connection.adopting.load(Ordering::Acquire) > 0 {
            return Begun::NotYet(inbound);
        }
        rules::own_message(&self.connection, inbound)
    }

    /// The answer to a frame that was no request.
    pub fn refuse(&self, bad: &BadRequest) -> Reply {
        let response = match bad {
            BadRequest::UnknownAction { action } if !self.is_authenticated() => Response::Unknown {
                action: action.clone(),
                failure: rules::need_auth(),
            },
            bad => bad.response(),
        };
        self.connection.shared.meters.answered(&response);
        response.into()
    }

    /// The next message for this connection, in order: what has waited since the session was last
    /// here, then live ones. While the connection is nobody's, pending without a wake-up: poll again
    /// after a reply.
    ///
    /// `Ready(None)` when the connection cannot go on: it was told too late of copies of its user's
    /// own messages. It should be closed.
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let shared = &self.connection.shared;
        let Some(mut owner) = self.connection.owner() else {
            return Poll::Pending;
        };
        let Owner { login, feed } = &mut *owner;
        let polled = feed.poll(login, shared, cx);
        match &polled {
            Poll::Ready(Some(_)) => shared.meters.given.count(),
            Poll::Ready(None) => shared.meters.mailbox_overrun.increment(1),
            Poll::Pending => {}
        }
        polled
    }

    /// False from the reply that authenticated the connection until the first page of what waited was
    /// given by [`poll_event`](Self::poll_event), or could not be read. A server takes no requests
    /// meanwhile, so that nothing comes between.
    pub fn has_caught_up(&self) -> bool {
        let owner = self.connection.owner();
        owner.is_none_or(|owner| owner.feed.has_caught_up())
    }

    /// Says that what stands at these places, and everything before, has been given: it was written
    /// to the socket. For a client that acknowledges, that is not enough, and it is only measured how
    /// long the oldest of them took.
    pub fn given(&self, places: impl IntoIterator<Item = Place>) {
        let mut places = places.into_iter().peekable();
        if places.peek().is_none() {
            return;
        }
        let shared = &self.connection.shared;
        let now = shared.now();
        let login = self.connection.login().filter(|login| !login.ack);
        let (mut newest, mut bytes, mut oldest) = (None, 0, None);
        for place in places {
            oldest = oldest.or(place.accepted);
            if login.as_ref().map(|login| login.number) == Some(place.login) {
                newest = newest.max(Some(place.seq));
                bytes += place.bytes;
            }
        }
        if let Some(accepted) = oldest {
            shared.meters.delivered(now.since(accepted));
        }
        if let Some((login, seq)) = login.zip(newest) {
            shared.marks.given(&login.device, seq, bytes);
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

impl Connection {
    /// An id that no other message has, of this or any other engine.
    pub(crate) fn next_message(&self) -> MessageId {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut digits = itoa::Buffer::new();
        [&*self.message_prefix, digits.format(sent)]
            .into_iter()
            .collect()
    }

    /// Who the connection belongs to.
    pub(crate) fn login(&self) -> Option<Arc<Login>> {
        self.owner().map(|owner| Arc::clone(&owner.login))
    }

    /// Who the connection belongs to, and stays with meanwhile.
    pub(crate) fn owner(&self) -> Option<MappedMutexGuard<'_, Owner>> {
        let mut owner = self.owner.lock();
        if let Some(ended) = owner.take_if(|owner| owner.login.mailbox.has_ended()) {
            // Dropped without the lock: it unsubscribes.
            drop(owner);
            drop(ended);
            return None;
        }
        MutexGuard::try_map(owner, Option::as_mut).ok()
    }

    /// True when this login was given the message at this place, or one behind it, through here.
    pub(crate) fn has_given(&self, login: &Login, seq: u64) -> bool {
        let owner = self.owner();
        owner.is_some_and(|owner| owner.login.number == login.number && owner.feed.has_given(seq))
    }

    pub(crate) fn set_login(&self, login: Arc<Login>) {
        let feed = Feed::default();
        let before = self.owner.lock().replace(Owner { login, feed });
        // Dropped without the lock: it unsubscribes.
        drop(before);
    }
}
