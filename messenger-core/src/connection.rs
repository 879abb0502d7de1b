//! One connection as an embedder sees it.

use crate::authenticator::Identity;
use crate::connection_state::ConnectionState;
use crate::delivery::{Delivery, DeliveryToken, Event, EventsEnded};
use crate::notifier::ConnectionId;
use crate::reply::{Reply, Running, Started};
use crate::rules::{self, SessionKind};
use crate::shared::Shared;
use crate::storage::NewMessage;
use crate::taken::{Moment, Queue, Taken};
use messenger_proto::{
    Action, BadRequest, ErrorCode, EvMessage, Failure, Inbound, Request, UserId, Welcome,
};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One connection: it takes requests, and gives replies and events. Dropping it ends it; what was
/// not delivered to it stays in the inbox.
///
/// ```text
///              register                    any request with cid+sid: resumed
///               ┌────┐                    ┌────────────────────────────────┐
///               │    ▼          auth      │                                ▼
/// connect ──▶ unauthenticated ──────────────────────────────────────▶ authenticated ──▶ events
///               ▲                                                      │    │   ▲
///               └─────────── logout, or the session was ended ─────────┘    └───┘ auth
/// ```
///
/// A program without a socket (a bot) uses [`call`](Self::call) and [`next_message`](Self::next_message). A
/// transport hands its connection to a [`Driver`](crate::Driver), which knows the order in which requests are
/// begun and replies and events are sent.
///
/// ```
/// use messenger_core::Engine;
/// use messenger_core::proto::{Auth, Register, SendMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().build()?;
/// let mut bot = engine.connect();
/// bot.call(Register::new("bot", "secret", "Bot")).await?;
/// bot.call(Auth::new("bot", "secret")).await?;
/// bot.call(SendMessage::new("bot", "note")).await?;
/// assert_eq!(bot.next_message().await?.message.body.as_str(), "note");
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    state: Arc<ConnectionState>,
    /// Names the event that `next_event` has given last.
    handed: Option<DeliveryToken>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.state.id)
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, peer: Option<IpAddr>) -> Self {
        Self {
            state: Arc::new(ConnectionState::new(shared, peer)),
            handed: None,
        }
    }

    /// Authenticates it as a user that the embedder vouches for.
    pub(crate) async fn become_user(
        &self,
        user: UserId,
        identity: Identity,
        session: SessionKind,
    ) -> Result<(), Failure> {
        rules::connect_as(&self.state, user, identity, session).await
    }

    /// What the connection is called in logs.
    pub fn id(&self) -> ConnectionId {
        self.state.id
    }

    /// As whom it is authenticated; `None` before that, and after its session was ended.
    pub fn user(&self) -> Option<UserId> {
        self.state.login().map(|login| login.user().clone())
    }

    /// True while it is authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.state.authenticated().is_some()
    }

    /// Carries out one request and gives the result that belongs to it.
    ///
    /// The sender's own copy of a message is not repeated to it.
    ///
    /// # Errors
    /// The request failed; see the action in the protocol.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the request was carried out.
    pub async fn call<A: Action>(&self, action: A) -> Result<A::Accepted, Failure> {
        let reply = self.handle(Inbound::new(action)).await;
        A::result(reply.response).unwrap_or_else(|_| {
            let text = "the answer was to another request";
            Err(Failure::new(ErrorCode::Unavailable, text))
        })
    }

    /// Waits for the next event. Asking for the next one says that the one before was processed: it is then
    /// delivered to this session, and does not come again.
    ///
    /// # Errors
    /// There are no more, and [why](EventsEnded).
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Result<Event, EventsEnded> {
        let handed = self.handed.take();
        self.delivered(handed);
        let next = poll_fn(|cx| match self.poll_event(cx) {
            // Its session may have ended this moment.
            Poll::Pending if !self.is_authenticated() => match self.poll_event(cx) {
                Poll::Pending => Poll::Ready(Err(EventsEnded::Unauthenticated)),
                polled => polled,
            },
            polled => polled,
        });
        let delivery = next.await?;
        self.handed = delivery.token;
        Ok(delivery.event)
    }

    /// Waits for the next message, for whoever wants no other [events](Self::next_event).
    ///
    /// # Errors
    /// There are no more, and [why](EventsEnded).
    ///
    /// # Cancel safety
    /// No message is lost when the future is dropped.
    pub async fn next_message(&mut self) -> Result<EvMessage, EventsEnded> {
        let Event::Message(message) = self.next_event().await?;
        Ok(message)
    }

    /// Carries out one request. Requests are carried out one after the other: the caller begins it when those
    /// before it are done. Only messages can be [started](Self::try_start) beside others.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the request was carried out.
    pub fn handle(&self, inbound: Inbound) -> Running {
        rules::carry_out(&self.state, inbound)
    }

    /// Starts a `message` of a client that is authenticated. It is stored without looking anything up first, at once if
    /// the store can do that. Many may be under way: poll each of them at least once before the next is started, and
    /// they are stored in that order.
    ///
    /// # Errors
    /// The request is given back when it must be [carried out](Self::handle) alone: when it is no `message`, or when
    /// one before it waits for a [moderator](crate::moderator::Moderator), or for its recipient to be looked up after all.
    ///
    /// # Cancel safety
    /// Dropping a pending message leaves open whether it was stored.
    #[inline]
    #[expect(clippy::result_large_err)] // the request is handed back, not reported
    pub fn try_start(&self, inbound: Inbound) -> Result<Started, Inbound> {
        rules::try_start(&self.state, inbound)
    }

    /// Carries out one request that is no message of an authenticated client.
    pub(crate) fn handle_alone(&self, inbound: Inbound) -> Running {
        rules::carry_out_alone(&self.state, inbound)
    }

    /// Takes a request that is to be begun later, a `message` together with others of one moment.
    #[inline]
    pub(crate) fn take(&self, moment: &mut Option<Moment>, inbound: Inbound) -> Taken {
        rules::take(&self.state, moment, inbound)
    }

    /// Starts the messages at the front of the queue. False when nothing was begun: the first is none, or has to wait.
    pub(crate) fn start_together(
        &self,
        taken: &mut Queue,
        started: impl FnMut(Started, usize),
    ) -> bool {
        rules::start_together(&self.state, taken, started)
    }

    /// Starts a message that was taken, by itself.
    pub(crate) fn start_alone(&self, new: NewMessage) -> Started {
        rules::start_alone(&self.state, new)
    }

    /// See [`Driver::list_bytes`](crate::Driver::list_bytes).
    pub(crate) fn list_bytes(&self, inbound: &Inbound) -> Option<usize> {
        let is_import = matches!(inbound.request, Request::Import(_));
        is_import.then_some(self.state.shared.policy.limits.list_bytes)
    }

    /// The answer to a frame that was no request.
    pub fn refuse(&self, bad: &BadRequest) -> Reply {
        rules::refuse(&self.state, bad)
    }

    /// The next event for this connection, in order: what has waited since the session was last here,
    /// then live ones. While the connection is unauthenticated it is pending, and the task is not woken when that
    /// changes: poll again after each reply.
    ///
    /// # Errors
    /// There are no more, and [why](EventsEnded).
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<Delivery, EventsEnded>> {
        let polled = self.state.poll_event(cx);
        self.count(&polled, 1);
        polled
    }

    /// Several of them at once, into `events`, which is empty.
    pub(crate) fn poll_events(
        &self,
        events: &mut VecDeque<Delivery>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), EventsEnded>> {
        let polled = self.state.poll_events(events, cx);
        self.count(&polled, events.len() as u64);
        polled
    }

    /// Counts so many events that were given, or why there are no more.
    fn count<T>(&self, polled: &Poll<Result<T, EventsEnded>>, events: u64) {
        let meters = &self.state.shared.meters;
        match polled {
            Poll::Ready(Ok(_)) => meters.delivered_total.add(events),
            Poll::Ready(Err(EventsEnded::MissedCopies)) => meters.mailbox_overrun.increment(1),
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
    }

    /// The number of the login as which it is authenticated.
    pub(crate) fn login_number(&self) -> Option<u64> {
        self.state.authenticated().map(|own| own.login.number)
    }

    /// Says that the messages of these tokens, and everything before them, were written to the socket. They are
    /// delivered then, unless the client acknowledges: for such a client it is only measured how long the oldest of
    /// them took.
    pub fn delivered(&self, tokens: impl IntoIterator<Item = DeliveryToken>) {
        let mut tokens = tokens.into_iter().peekable();
        if tokens.peek().is_none() {
            return;
        }
        let shared = &self.state.shared;
        let now = shared.now();
        let login = self.state.login().filter(|login| !login.ack);
        let (mut newest, mut bytes, mut oldest) = (None, 0, None);
        for token in tokens {
            oldest = oldest.or(token.accepted);
            if login.as_ref().map(|login| login.number) == Some(token.login) {
                newest = newest.max(Some(token.seq));
                bytes += token.bytes;
            }
        }
        if let Some(accepted) = oldest {
            shared.meters.delivered(now.since(accepted));
        }
        if let Some((login, seq)) = login.zip(newest) {
            shared.watermarks.delivered(&login.device, seq, bytes);
        }
    }

    /// What a new connection is greeted with.
    pub(crate) fn welcome(&self) -> Welcome {
        self.state.shared.welcome()
    }

    /// True when the client has asked for a feature.
    pub(crate) fn has_features(&self) -> bool {
        let login = self.state.login();
        login.is_some_and(|login| login.has_features())
    }

    /// Counts that no requests are read because too much is unsent.
    pub(crate) fn note_held_back(&self) {
        self.state.shared.meters.max_outgoing.increment(1);
    }

    /// False from the reply that authenticated the connection until the first page of what waited was
    /// given by [`poll_event`](Self::poll_event), or could not be read.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.state.has_caught_up()
    }

    /// Ready once its session has ended, whether or not events are asked for; the task is woken then.
    pub(crate) fn poll_session_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.poll_session_end(cx)
    }
}
