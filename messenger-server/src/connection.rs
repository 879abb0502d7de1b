//! One connection's life, in one task: read, decode, hand to the driver, encode, write.
//!
//! Whenever something happens on the connection the task does all it can: it decodes requests and hands
//! them over until there are none, takes the driver's frames, and writes everything together.

mod input;
mod output;
mod room;
mod turn;
mod websocket;

pub(crate) use turn::flood_places;

use crate::Transport;
use crate::budget::Reservation;
use crate::meters::Meters;
use crate::stop::Stopped;
use input::{Input, InputError, ReadError};
use messenger_core::{Connection, Driver, DriverLimits, Ended};
use messenger_proto::{ErrorCode, Failure, Inbound, Outbound, Response, ServerCodec};
use output::Output;
use room::Room;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};
use turn::Turn;
use websocket::{Close, Keepalive, Silence};

/// How much of what a client goes on sending is read when the server stops, in bytes.
const AFTER_STOP: usize = 1024 * 1024;

/// How long a closing connection is read on, so that what the peer still sends does not make its
/// system throw away our last reply.
const LINGER: Duration = Duration::from_secs(2);

/// The same when the server stops, which must not take long.
const LINGER_AT_STOP: Duration = Duration::from_millis(300);

/// How long what is unsent may take to be sent when the client's session was ended.
const AFTER_SESSION: Duration = Duration::from_secs(1);

/// How much is read on, in bytes.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How long a client is not read whose message there was no room for: what it is refused costs others processor
/// time.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// And so much longer for each byte of it: large frames cost more.
const AFTER_REFUSED_BYTE: Duration = Duration::from_nanos(60);

/// What a connection takes of what all have together.
pub(crate) struct Shares {
    pub(crate) partial_frames: Reservation,
    /// What waits to be written.
    pub(crate) outgoing: Reservation,
    pub(crate) flood_places: Arc<Semaphore>,
    pub(crate) limits: Arc<DriverLimits>,
}

/// A connection being served. It is a future that ends with the connection.
pub(crate) struct ConnectionTask<S> {
    stream: S,
    driver: Driver,
    transport: Arc<Transport>,
    meters: Arc<Meters>,
    input: Input,
    output: Output,
    phase: Phase,
    /// What may still be done in this turn.
    turn: Turn,
    /// When the client must have authenticated, or the closing must be over.
    deadline: Option<Pin<Box<Sleep>>>,
    /// When the peer must have taken something of what waits for it.
    stall: Option<Pin<Box<Sleep>>>,
    /// When the next frame may be written to a client that gets them one by one.
    gap: Option<Pin<Box<Sleep>>>,
    stop: Option<Box<Stopped>>,
    /// How much may still be read when the server stops.
    after_stop: usize,
    /// What waits to be written takes of the budget of all.
    room: Room,
    /// Until when nothing is read, because there was no room for a message.
    pause: Option<Pin<Box<Sleep>>>,
    /// There was no room for the last message: those that follow are handed over one by one.
    is_refused: bool,
    /// A request for a list of so many bytes, which waits for room; and the length of its frame.
    list: Option<Box<(Inbound, usize, usize)>>,
    /// Over WebSocket.
    keepalive: Option<Box<Keepalive>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are taken.
    Open,
    /// No more requests; what was begun is finished and flushed.
    Finishing {
        /// The peer may still be sending.
        linger: bool,
        why: Close,
    },
    /// Everything is flushed; our side is being closed.
    Closing {
        /// The peer may still be sending.
        linger: bool,
    },
    /// Our side is closed; the peer's rest is read and dropped.
    Lingering {
        /// How much has been dropped.
        dropped: usize,
    },
    /// The stream is of no use any more; requests under way are still carried out.
    Broken,
}

impl<S> fmt::Debug for ConnectionTask<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTask")
            .field("driver", &self.driver)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    pub(crate) fn new(
        stream: S,
        connection: Connection,
        transport: Arc<Transport>,
        meters: Arc<Meters>,
        shares: Shares,
        stop: Stopped,
    ) -> Self {
        meters.connections.increment(1);
        let driver = Driver::new(connection, shares.limits);
        let mut codec = ServerCodec::new(driver.frame_limit(), transport.escapes());
        if transport.control_characters {
            codec = codec.with_control_characters();
        }
        Self {
            stream,
            input: Input::new(driver.frame_limit(), codec, shares.partial_frames),
            driver,
            turn: Turn::new(shares.flood_places),
            output: Output::new(transport.escapes(), transport.frame_gap.is_some()),
            phase: Phase::Open,
            deadline: None,
            stall: None,
            gap: None,
            stop: Some(Box::new(stop)),
            after_stop: AFTER_STOP,
            room: Room::new(shares.outgoing),
            list: None,
            pause: None,
            is_refused: false,
            keepalive: None,
            transport,
            meters,
        }
    }

    /// Frames are text messages over WebSocket. `received` has come behind its handshake already.
    pub(crate) fn over_websocket(mut self, received: &[u8]) -> Self {
        self.input.become_websocket(received);
        self.output.become_websocket();
        let Transport {
            keepalive,
            write_stall,
            ..
        } = *self.transport;
        self.keepalive = Some(Box::new(Keepalive::new(keepalive, write_stall)));
        self
    }

    /// Does what can be done in one turn. Ready when the connection is over.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.drive(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a connection broke");
                self.break_off();
                // Requests under way are carried out all the same.
                return self.drive(cx).map(drop);
            }
            Poll::Pending => {}
        }
        if self.is_late(cx) {
            tracing::debug!("a connection's time was up");
            return Poll::Ready(());
        }
        let (unsent, written) = (self.output.len(), self.output.written());
        if self.room.keep(unsent, written, cx).is_err() {
            tracing::debug!("a client that took too little of what waited gave way to others");
            self.break_off();
            return self.drive(cx).map(drop);
        }
        self.input.release_buffers();
        self.output.release_buffers();
        self.driver.release_buffers();
        Poll::Pending
    }

    /// Does all that can be done now. Ready when the connection is over.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stop(cx);
        if self.phase == Phase::Open && self.input.is_evicted() {
            self.give_way(&ReadError::Evicted);
        }
        loop {
            self.take_requests(cx)?;
            self.keep_alive(cx)?;
            let was_wanted = self.driver.wants_request(self.output.len());
            self.take_frames(cx);
            let wrote = self.write(cx)?;
            if self.is_finished() {
                ready!(self.finish(cx))?;
                return Poll::Ready(Ok(()));
            }
            // Writing everything made room for more, and so may replies have.
            if !wrote && (was_wanted || !self.driver.wants_request(self.output.len())) {
                return Poll::Pending;
            }
        }
    }

    /// Takes requests until there are none, or no more are wanted, and queues what they are answered.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.poll_list(cx).is_pending() || self.poll_pause(cx).is_pending() {
                self.take_replies(cx);
                return Ok(());
            }
            let is_wanted = self.driver.wants_request(self.output.len());
            if !is_wanted || self.is_frame_waiting() || self.turn.is_over() {
                // Replies may have made room for more.
                if self.take_replies(cx) {
                    continue;
                }
                return Ok(());
            }
            // Whoever has each answered alone is not read on before that.
            let is_alone = self.is_refused || self.frame_gap().is_some();
            if is_alone && self.take_replies(cx) {
                continue;
            }
            self.input.set_limit(self.driver.frame_limit());
            match self.input.next() {
                Ok(Some(request)) => {
                    self.turn.note_request();
                    let length = self.input.length();
                    let list = request.as_ref().ok();
                    let list = list.and_then(|inbound| self.driver.list_bytes(inbound));
                    match (request, list) {
                        (Ok(inbound), Some(bytes)) => {
                            self.list = Some(Box::new((inbound, length, bytes)));
                        }
                        (request, _) => self.driver.request(request, length),
                    }
                }
                // What was handed over until now is begun together.
                Ok(None) if self.take_replies(cx) => {}
                Ok(None) if self.phase == Phase::Open => {
                    match self.input.read(&mut self.stream, cx) {
                        Poll::Ready(Ok(0)) => {
                            let why = Close::Done;
                            self.phase = Phase::Finishing { linger: false, why };
                        }
                        Poll::Ready(Ok(read)) => self.note_read(read),
                        Poll::Ready(Err(ReadError::Io(error))) => return Err(error),
                        Poll::Ready(Err(evicted @ ReadError::Evicted)) => {
                            self.give_way(&evicted);
                        }
                        Poll::Pending => {
                            // Without a budget the runtime did not even look; the task is polled again.
                            if self.stop.is_none() && coop::has_budget_remaining() {
                                // A frame that has not come whole will not.
                                self.take_no_more();
                                self.finish_stopping();
                            }
                            return Ok(());
                        }
                    }
                }
                Ok(None) => {
                    // As above.
                    self.take_no_more();
                    return Ok(());
                }
                Err(error) => self.refuse_input(&error),
            }
        }
    }

    /// Queues the replies that there are. False when there are none.
    fn take_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let mut are_there = false;
        while let Poll::Ready(outbound) = self.driver.poll_reply(cx) {
            self.queue(outbound);
            are_there = true;
        }
        are_there
    }

    /// Hands over the request for a list, once there is room for it and nothing before it is left to be done.
    fn poll_list(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(list) = self.list.take() else {
            return Poll::Ready(());
        };
        let (_, length, bytes) = *list;
        let is_next = self.driver.is_idle() && self.output.is_empty() && !self.room.expects_list();
        if is_next && matches!(self.room.poll_list(bytes, cx), Poll::Ready(Ok(()))) {
            let (inbound, ..) = *list;
            self.driver.request(Ok(inbound), length);
            return Poll::Ready(());
        }
        self.list = Some(list);
        Poll::Pending
    }

    /// Waits until the client is read on.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            // Whoever stops, or is told to, is not kept waiting.
            if self.phase == Phase::Open && self.stop.is_some() {
                ready!(pause.as_mut().poll(cx));
            }
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Queues what is to be sent.
    #[inline]
    fn queue(&mut self, outbound: Outbound) {
        if let Outbound::Response(Response::SendMessage(answer)) = &outbound {
            self.is_refused = answer.as_ref().is_err_and(lacks_room);
            if self.is_refused {
                self.pause_for_refusal();
            }
        }
        match outbound {
            Outbound::Response(list @ (Response::Import(_) | Response::ContactList(_))) => {
                self.room.list_came();
                self.output.push_list(list);
            }
            other => self.output.push(&other),
        }
    }

    /// The client is not read for a while; for longer if that was decided already for a message before.
    fn pause_for_refusal(&mut self) {
        let length = u32::try_from(self.input.length()).unwrap_or(u32::MAX);
        let begin = self.pause.as_ref().map(|pause| pause.deadline());
        let pause = AFTER_REFUSAL + AFTER_REFUSED_BYTE * length;
        let end = begin.unwrap_or_else(Instant::now) + pause;
        self.pause = Some(Box::pin(sleep_until(end)));
    }

    /// What was handed over is still carried out.
    fn take_no_more(&mut self) {
        self.input.clear();
        self.driver.finish();
    }

    /// A server that stops does not read on for as long as a client goes on sending.
    fn note_read(&mut self, read: usize) {
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.note_heard();
        }
        self.turn.note_read(read);
        if self.stop.is_none() {
            self.after_stop = self.after_stop.saturating_sub(read);
            if self.after_stop == 0 {
                self.finish_stopping();
            }
        }
    }

    fn finish_stopping(&mut self) {
        let why = Close::Stopping;
        self.phase = Phase::Finishing { linger: true, why };
    }

    fn refuse_input(&mut self, error: &InputError) {
        if error.is_too_long() {
            self.meters.max_frame.increment(1);
        }
        self.refuse_stream(ErrorCode::InvalidData, error, error.close());
    }

    /// Others have taken the room of the frame that was under way.
    fn give_way(&mut self, evicted: &ReadError) {
        self.refuse_stream(ErrorCode::TooManyRequests, evicted, Close::TryLater);
    }

    /// The stream cannot be read on: says why, and ends the connection once that is flushed.
    fn refuse_stream(&mut self, code: ErrorCode, error: &dyn fmt::Display, why: Close) {
        tracing::debug!(%error, "a client's stream cannot be read on");
        self.driver.refuse(Failure::new(code, error.to_string()));
        self.input.clear();
        self.list = None;
        self.phase = Phase::Finishing { linger: true, why };
    }

    /// Over WebSocket: answers a ping, and asks a client for a sign of life that has been silent.
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(keepalive) = &mut self.keepalive else {
            return Ok(());
        };
        if let Some(ping) = self.input.take_ping() {
            self.output.push_pong(&ping);
        }
        let is_listening = self.phase == Phase::Open
            && self.driver.wants_request(self.output.len())
            && self.pause.is_none()
            && self.list.is_none()
            && !self.input.is_waiting_for_room();
        match keepalive.poll(!is_listening, cx) {
            Poll::Ready(Silence::Ask) => self.output.push_ping(),
            Poll::Ready(Silence::GiveUp) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client answers no ping",
                ));
            }
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Takes what there is to be sent: replies, and events while little is unsent.
    fn take_frames(&mut self, cx: &mut Context<'_>) {
        loop {
            let unsent = match self.is_frame_waiting() {
                // Events wait in the inbox.
                true => usize::MAX,
                false => self.output.len(),
            };
            let Poll::Ready(frame) = self.driver.poll_frame(unsent, cx) else {
                break;
            };
            match frame {
                Ok(frame) => {
                    self.queue(frame.outbound);
                    if let Some(token) = frame.token {
                        self.output.mark(token);
                    }
                }
                Err(Ended::MissedCopies) => {
                    tracing::info!("a client was too slow for the copies of its user's messages");
                    return self.break_off();
                }
                Err(_) => break,
            }
        }
        // The client's session was ended: it is told by the end of the connection, and soon.
        if self.driver.is_finishing() && self.phase == Phase::Open {
            let why = Close::Session;
            self.phase = Phase::Finishing { linger: true, why };
            self.input.clear();
            self.list = None;
            self.must_close_in(AFTER_SESSION);
        }
    }

    /// The stream is of no use any more.
    fn break_off(&mut self) {
        self.phase = Phase::Broken;
        self.stall = None;
        self.list = None;
        self.output.clear();
        self.take_no_more();
    }

    /// The time between frames for a client that gets them one by one.
    fn frame_gap(&self) -> Option<Duration> {
        self.transport
            .frame_gap
            .filter(|_| self.keepalive.is_none() && !self.driver.has_features())
    }

    /// True while a frame waits for a client that gets them one by one. Nothing more is done for it meanwhile, so
    /// that no more than a few frames ever wait.
    fn is_frame_waiting(&self) -> bool {
        !self.output.is_flushed() && self.frame_gap().is_some()
    }

    /// Writes what waits, or the next frame of it. True when it wrote that whole.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.output.is_flushed() || self.phase == Phase::Broken {
            return Ok(false);
        }
        let gap = self.frame_gap();
        if gap.is_some() && self.poll_gap(cx).is_pending() {
            return Ok(false);
        }
        let before = self.output.written();
        let written = match gap {
            Some(_) => self.output.write_frame(&mut self.stream, cx),
            None => self.output.write(&mut self.stream, cx),
        };
        self.driver.delivered(self.output.take_delivered());
        if self.output.written() != before {
            self.stall = None;
        }
        match written {
            Poll::Ready(Ok(())) => {
                self.stall = None;
                self.gap = gap.map(|gap| Box::pin(sleep_until(Instant::now() + gap)));
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.wait_for_peer(cx)?;
                Ok(false)
            }
        }
    }

    /// Waits until the next frame may be written.
    fn poll_gap(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(gap) = &mut self.gap {
            ready!(gap.as_mut().poll(cx));
            self.gap = None;
        }
        Poll::Ready(())
    }

    /// Gives a peer that takes nothing its time, and no more.
    fn wait_for_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let patience = self.transport.write_stall;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        match stall.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.meters.write_timeout.increment(1);
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client takes nothing of what waits for it",
                ))
            }
        }
    }

    /// True when nothing is left to be done but to close.
    fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Finishing { .. } => {
                let is_done = self.input.is_empty() && self.list.is_none();
                is_done && self.driver.is_idle() && self.output.is_flushed()
            }
            Phase::Closing { .. } | Phase::Lingering { .. } => true,
            Phase::Broken => self.driver.is_idle(),
        }
    }

    /// Closes our side and, if the peer may still be sending, reads that for a while.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Broken {
            return Poll::Ready(Ok(()));
        }
        if let Phase::Finishing { linger, why } = self.phase {
            self.output.push_close(why);
            self.phase = Phase::Closing { linger };
            self.must_close_in(if self.stop.is_none() {
                LINGER_AT_STOP
            } else {
                LINGER
            });
        }
        if let Phase::Closing { linger } = self.phase {
            ready!(self.output.write(&mut self.stream, cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !linger {
                return Poll::Ready(Ok(()));
            }
            self.phase = Phase::Lingering { dropped: 0 };
        }
        while let Phase::Lingering { dropped } = self.phase {
            let read = ready!(self.input.skip(&mut self.stream, cx))?;
            let dropped = dropped + read;
            if read == 0 || dropped > LINGER_BYTES {
                break;
            }
            self.phase = Phase::Lingering { dropped };
        }
        Poll::Ready(Ok(()))
    }

    /// Notes when the server stops: what was received until now is finished.
    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        if let Some(stop) = &mut self.stop
            && stop.poll(cx).is_ready()
        {
            self.stop = None;
            self.input.hurry();
            if let Phase::Closing { .. } | Phase::Lingering { .. } = self.phase {
                self.must_close_in(LINGER_AT_STOP);
            }
        }
    }

    fn must_close_in(&mut self, time: Duration) {
        self.deadline = Some(Box::pin(sleep_until(Instant::now() + time)));
    }

    /// True when the client took too long to authenticate, or closing took too long.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase == Phase::Open {
            if self.driver.connection().is_authenticated() {
                self.deadline = None;
                return false;
            }
            let time = self.transport.time_to_auth;
            self.deadline
                .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        }
        let deadline = self.deadline.as_mut();
        let is_late = deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if is_late && self.phase == Phase::Open {
            self.meters.auth_timeout.increment(1);
            self.part(Close::AuthTimeout, cx);
        }
        is_late
    }

    /// Tells a client why its connection is cut, if it takes that at once.
    fn part(&mut self, why: Close, cx: &mut Context<'_>) {
        if self.output.is_flushed() {
            self.output.push_close(why);
            let _ = self.output.write(&mut self.stream, cx);
        }
    }
}

/// True when a message was refused for want of room, of whatever kind.
fn lacks_room(failure: &Failure) -> bool {
    use ErrorCode::{InboxFull, TooManyRequests, Unavailable};
    matches!(failure.code, TooManyRequests | InboxFull | Unavailable)
}

impl<S> Drop for ConnectionTask<S> {
    fn drop(&mut self) {
        self.meters.connections.decrement(1);
        tracing::debug!("a connection ended");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ConnectionTask<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        connection.turn.begin(cx);
        let polled = connection.poll_turn(cx);
        connection.turn.end(connection.input.unfinished(), cx);
        polled
    }
}
