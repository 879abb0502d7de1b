//! One connection of any transport that carries frames: requests in, frames out.

mod refusals;
mod window;

use crate::connection::Connection;
use crate::delivery::{Delivery, DeliveryToken, EventsEnded};
use crate::reply::Started;
use crate::taken::{Moment, Queue, Taken};
use messenger_proto::{BadRequest, ErrorCode, Event, Failure, Inbound, Outbound, Response};
use refusals::Refusals;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use window::Window;

/// The bounds of a [`Driver`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DriverLimits {
    /// The longest frame of an authenticated client, in bytes. 16 MiB.
    pub frame: usize,
    /// The longest frame of a client that has not authenticated, in bytes. 16 KiB.
    pub frame_before_auth: usize,
    /// How many `message` requests may be under way at once. 256.
    pub overlapping: usize,
    /// How many bytes their frames may have together; the frame that crosses this is still accepted. 4 MiB.
    pub overlapping_bytes: usize,
    /// Unsent bytes from which on no request is wanted. 4 MiB.
    pub unsent: usize,
    /// Unsent bytes from which on events wait in the inbox. 64 KiB.
    pub unsent_before_events: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            frame: 16 * 1024 * 1024,
            frame_before_auth: 16 * 1024,
            overlapping: 256,
            overlapping_bytes: 4 * 1024 * 1024,
            unsent: 4 * 1024 * 1024,
            unsent_before_events: 64 * 1024,
        }
    }
}

/// Drives a connection: it decides everything about it but the bytes. That is the order of replies and events, how many
/// requests overlap, what comes behind a log-in, backpressure, and which messages count as delivered.
///
/// A transport reads a request when one is [wanted](Self::wants_request) and [hands it over](Self::request), but
/// [rests](Self::take_rest) when it is told to. It sends the
/// [frames](Self::next_frame) it is given in their order, and says which are [delivered](Self::delivered). It tells how
/// many bytes it has not sent yet, and the driver holds back what must not pile up.
///
/// Every transport passes [`testing::transport`](crate::testing::transport).
///
/// ```
/// use messenger_core::proto::{Event, Inbound, Outbound, Register, Response};
/// use messenger_core::{Driver, DriverLimits, Engine};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().build()?;
/// let mut driver = Driver::new(engine.connect(), DriverLimits::default());
/// let welcome = driver.next_frame(0).await?;
/// assert!(matches!(welcome.outbound, Outbound::Event(Event::Welcome(_))));
///
/// assert!(driver.wants_request(0));
/// driver.request(Ok(Inbound::new(Register::new("ann", "secret", "Ann"))), 80);
/// let reply = driver.next_frame(0).await?;
/// assert!(matches!(reply.outbound, Outbound::Response(Response::Register(Ok(())))));
/// # Ok(())
/// # }
/// ```
pub struct Driver {
    connection: Connection,
    window: Window,
    /// What goes out right behind the frame before: the welcome, a sender's own copy.
    next: Option<Outbound>,
    /// The client has been given a reply that authenticated it. Events come behind that reply.
    is_authenticated: bool,
    /// The client asked for a feature.
    has_features: bool,
    /// The first page of what waited in the inbox is given before more requests are begun.
    is_catching_up: bool,
    /// Requests that are not begun: there may come more that are begun together with them, or they have to wait.
    taken: Queue,
    /// Of the messages among them.
    moment: Option<Moment>,
    /// Events that come next, for the login of this number.
    events: VecDeque<Delivery>,
    login: Option<u64>,
    /// No more requests are taken.
    is_finishing: bool,
    /// No requests are wanted because too much is unsent.
    is_held_back: bool,
    refusals: Refusals,
}

/// Something to be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// The response or event.
    pub outbound: Outbound,
    /// To be given back once the frame is [delivered](Driver::delivered); `None` when nobody waits to
    /// hear of it.
    pub token: Option<DeliveryToken>,
}

impl From<Outbound> for Frame {
    fn from(outbound: Outbound) -> Self {
        Self {
            outbound,
            token: None,
        }
    }
}

impl From<Delivery> for Frame {
    fn from(Delivery { event, token }: Delivery) -> Self {
        Self {
            outbound: Outbound::Event(event.into()),
            token,
        }
    }
}

/// Why a driver has no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// It was told to [finish](Driver::finish), or the client's session was ended, or the client may do no more here,
    /// and everything is answered. The connection is to be closed once its frames are sent.
    #[error("everything is answered")]
    Finished,
    /// The client was too slow for the copies of its user's own messages, which are kept nowhere. The
    /// connection is to be cut.
    #[error("copies of the user's own messages were missed")]
    MissedCopies,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("connection", &self.connection)
            .field("is_finishing", &self.is_finishing)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Drives this connection. Its first frame is the welcome. Many connections may share their limits.
    pub fn new(connection: Connection, limits: impl Into<Arc<DriverLimits>>) -> Self {
        let mut driver = Self {
            next: Some(Outbound::Event(Event::Welcome(connection.welcome()))),
            connection,
            window: Window::new(limits.into()),
            is_authenticated: false,
            has_features: false,
            is_catching_up: false,
            taken: Queue::default(),
            moment: None,
            events: VecDeque::new(),
            login: None,
            is_finishing: false,
            is_held_back: false,
            refusals: Refusals::default(),
        };
        // An embedder may have authenticated it.
        driver.look_at_connection();
        driver
    }

    /// The connection that is driven.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// True when another request may be handed over, given that `unsent` bytes are not sent yet. If false, ask again
    /// after the next frame, or when more has been sent.
    pub fn wants_request(&mut self, unsent: usize) -> bool {
        !self.is_held_back(unsent)
            && !self.is_finishing
            && self.window.has_room(self.taken.len(), self.taken.bytes())
            && self.gathers()
            && (!self.refusals.is_last() || self.is_idle())
    }

    /// How long the transport is to wait before it hands over the next request, from now on: usually not at all. A client
    /// whose message there was no room for (20, 21, 22) rests, or a flood that is refused would cost as much as any. Told
    /// once, so to be asked behind every reply.
    #[inline]
    pub fn take_rest(&mut self) -> Duration {
        self.refusals.take_rest()
    }

    /// True from a log-in on until the client was given the first of what waited for it. A request that is handed over
    /// meanwhile waits for as long as the client likes: a transport that has a bound for all its connections counts it.
    pub fn is_catching_up(&self) -> bool {
        self.is_catching_up
    }

    /// True when a request may be put behind those that are not begun. Only messages are begun together.
    fn gathers(&self) -> bool {
        let may_overlap = self.is_authenticated && !self.is_catching_up;
        match self.taken.back() {
            None => true,
            Some(Taken::Message(_)) => may_overlap,
            // One that is refused is told so before others are read.
            Some(Taken::Early(_) | Taken::Alone(_) | Taken::Bad(_) | Taken::Answered(_)) => false,
        }
    }

    /// True while so much is unsent that no requests are read.
    fn is_held_back(&mut self, unsent: usize) -> bool {
        let is_held_back = unsent >= self.window.limits.unsent;
        if is_held_back && !self.is_held_back {
            self.connection.note_held_back();
        }
        self.is_held_back = is_held_back;
        is_held_back
    }

    /// The most bytes a frame may have now: fewer before the client has authenticated.
    pub fn frame_limit(&self) -> usize {
        if self.is_authenticated {
            self.window.limits.frame
        } else {
            self.window.limits.frame_before_auth
        }
    }

    /// The most bytes that the answer to a request may have, if it is likely to have many. That is an `import`, which
    /// finds as many users with their pictures as its sender likes. A transport that has a bound for all its connections
    /// makes room for the answer before it hands the request over. (The answer to `contactlist` may be as long, but it
    /// rarely is, and every client asks for it.)
    pub fn list_bytes(&self, request: &Inbound) -> Option<usize> {
        self.connection.list_bytes(request)
    }

    /// Takes a request whose frame had `length` bytes, or the fault of a frame that is no request. It is begun
    /// when [replies](Self::poll_reply) are asked for next, and messages that were handed over until then are begun
    /// together: they have one time, and cost less than each alone. To be called only while a request is
    /// [wanted](Self::wants_request).
    #[inline]
    pub fn request(&mut self, request: Result<Inbound, BadRequest>, length: usize) {
        let taken = match request {
            // Whose it is may yet change, or is not known to the client.
            Ok(inbound) if self.is_catching_up || !self.is_authenticated => Taken::Early(inbound),
            Ok(inbound) => self.connection.take(&mut self.moment, inbound),
            Err(bad) => Taken::Bad(bad),
        };
        self.taken.push_back(taken, length);
    }

    /// Begins what may be begun of the requests that were taken. True when there was something.
    fn begin_taken(&mut self) -> bool {
        if self.taken.is_empty() || (self.is_catching_up && !self.is_finishing) {
            return false;
        }
        if self.window.is_alone() {
            return false;
        }
        self.moment = None;
        let window = &mut self.window;
        let start = |started, length| window.put(started, length);
        if self.connection.start_together(&mut self.taken, start) {
            return true;
        }
        self.begin_alone()
    }

    /// Begins the first request by itself. False when it must wait for those before it.
    fn begin_alone(&mut self) -> bool {
        let waits = matches!(
            self.taken.front(),
            Some(Taken::Early(_) | Taken::Alone(_) | Taken::Message(_))
        );
        if waits && !self.window.is_empty() {
            return false;
        }
        let Some((taken, length)) = self.taken.pop_front() else {
            return false;
        };
        let taken = match taken {
            // It has a moment of its own, which is over then.
            Taken::Early(inbound) if self.is_authenticated => {
                self.connection.take(&mut None, inbound)
            }
            other => other,
        };
        let reply = match taken {
            Taken::Early(inbound) | Taken::Alone(inbound) => {
                // Before it is answered it may make the connection another user's.
                self.is_authenticated &= self.connection.is_authenticated();
                let running = self.connection.handle_alone(inbound);
                self.window.put_alone(running, length);
                return true;
            }
            Taken::Message(new) => {
                self.window.put(self.connection.start_alone(new), length);
                return true;
            }
            Taken::Bad(bad) => self.connection.refuse(&bad),
            Taken::Answered(reply) => reply,
        };
        if is_farewell(&reply.response) {
            // It does not run alone, so those behind it would be begun beside it.
            self.finish();
        }
        self.window.put(Started::Done(reply), length);
        true
    }

    /// Says why the client's stream cannot be read on, behind the replies to what it sent before, and
    /// [finishes](Self::finish).
    pub fn refuse(&mut self, failure: Failure) {
        self.finish();
        let reply = Response::unknown(failure).into();
        self.taken.push_back(Taken::Answered(reply), 0);
    }

    /// Takes no more requests and no more events. What was begun is carried out and answered; then the
    /// driver has [ended](Ended::Finished).
    pub fn finish(&mut self) {
        self.is_finishing = true;
    }

    /// True when no more requests are taken: it was told to finish, the client's session was ended, or the client
    /// wanted to register though it is authenticated.
    pub fn is_finishing(&self) -> bool {
        self.is_finishing
    }

    /// True when everything that was begun is answered.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty() && self.next.is_none() && self.taken.is_empty()
    }

    /// The next frame: a reply, or an event while little is unsent.
    ///
    /// # Errors
    /// There will be no more, and [why](Ended).
    pub fn poll_frame(
        &mut self,
        unsent: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame, Ended>> {
        loop {
            if let Poll::Ready(outbound) = self.poll_reply(cx) {
                return Poll::Ready(Ok(outbound.into()));
            }
            let was_catching_up = self.is_catching_up;
            let event = self.poll_event(unsent, cx);
            // A request that had to wait until now may be answered at once.
            let may_go_on = was_catching_up && !self.is_catching_up && !self.taken.is_empty();
            if event.is_ready() || !may_go_on {
                return event;
            }
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// There will be no more, and [why](Ended).
    ///
    /// # Cancel safety
    /// No frame is lost when the future is dropped.
    pub async fn next_frame(&mut self, unsent: usize) -> Result<Frame, Ended> {
        poll_fn(|cx| self.poll_frame(unsent, cx)).await
    }

    /// The next reply, or what goes right behind the one before. A transport that has more requests at
    /// hand takes all replies, then hands over the next request, and asks for [any
    /// frame](Self::poll_frame) when there are no more.
    #[inline]
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Outbound> {
        // Looked at first: a take moves the whole, and mostly there is none.
        if self.next.is_some()
            && let Some(next) = self.next.take()
        {
            return Poll::Ready(next);
        }
        loop {
            if let Poll::Ready((reply, length)) = self.window.poll(cx) {
                self.refusals.note(&reply.response, length);
                self.note_authentication(&reply.response);
                if is_farewell(&reply.response) {
                    self.finish();
                }
                self.next = reply.follow;
                return Poll::Ready(Outbound::Response(reply.response));
            }
            if !self.begin_taken() {
                return Poll::Pending;
            }
        }
    }

    /// The next event, while little is unsent; pending while there are replies to be given first.
    fn poll_event(&mut self, unsent: usize, cx: &mut Context<'_>) -> Poll<Result<Frame, Ended>> {
        if self.is_finishing {
            return match self.is_idle() {
                true => Poll::Ready(Err(Ended::Finished)),
                false => Poll::Pending,
            };
        }
        if self.next.is_some() || (!self.is_authenticated && !self.is_idle()) {
            return Poll::Pending;
        }
        if !self.is_authenticated || unsent >= self.window.limits.unsent_before_events {
            // Its session may end though the client takes nothing of what waits for it, and may have ended
            // before its last request, which was told so.
            ready!(self.connection.poll_session_end(cx));
            self.finish();
            return self.poll_event(unsent, cx);
        }
        let polled = match self.events.is_empty() {
            true => self.connection.poll_events(&mut self.events, cx),
            false => Poll::Ready(Ok(())),
        };
        let next = self.events.pop_front();
        self.is_catching_up =
            self.is_catching_up && !(self.events.is_empty() && self.connection.has_caught_up());
        match ready!(polled) {
            Ok(()) => next.map_or(Poll::Pending, |delivery| Poll::Ready(Ok(delivery.into()))),
            Err(EventsEnded::MissedCopies) => Poll::Ready(Err(Ended::MissedCopies)),
            Err(EventsEnded::SessionEnded | EventsEnded::Unauthenticated) => {
                self.finish();
                self.poll_event(unsent, cx)
            }
        }
    }

    /// Says that the frames with these tokens, and everything before them, have reached the client: they
    /// were written to the socket, say.
    pub fn delivered(&self, tokens: impl IntoIterator<Item = DeliveryToken>) {
        self.connection.delivered(tokens);
    }

    /// What the client may do depends on whether it is authenticated.
    #[inline]
    fn note_authentication(&mut self, response: &Response) {
        // A message of an authenticated client changes nothing of that.
        let is_settled = self.is_authenticated && matches!(response, Response::SendMessage(_));
        if !is_settled {
            self.look_at_connection();
        }
    }

    fn look_at_connection(&mut self) {
        self.is_catching_up = !self.connection.has_caught_up();
        self.is_authenticated = self.connection.is_authenticated();
        self.has_features = self.connection.has_features();
        let login = self.connection.login_number();
        if login != self.login {
            // They were another user's, or come again from where the session is now.
            self.events.clear();
            self.login = login;
        }
    }

    /// True once the client has been given the reply to an `auth` in which it asked for a feature, or has resumed a
    /// session that remembers one. Such a client is newer than the deployed ones, which know no features.
    pub fn has_features(&self) -> bool {
        self.has_features
    }

    /// Gives back memory, when the connection falls idle.
    pub fn release_buffers(&mut self) {
        self.window.release_buffers();
        self.taken.release_buffers();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }
}

/// True for a reply behind which the connection is closed: a client that registers on an authenticated connection
/// wants to be another user, and registers again on a fresh one.
fn is_farewell(response: &Response) -> bool {
    let already = ErrorCode::AlreadyRegistered;
    matches!(response, Response::Register(Err(failure)) if failure.code == already)
}
