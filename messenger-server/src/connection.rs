//! One connection's life, in one task: read, decode, hand to the driver, encode, write.
//!
//! Whenever something happens on the connection the task does all it can: it decodes requests and hands
//! them over until there are none, takes the driver's frames, and writes everything together.

mod closing;
mod input;
mod output;
mod rest;
mod room;
mod turn;
mod websocket;
mod writing;

pub(crate) use turn::flood_places;

use crate::Transport;
use crate::budget::Reservation;
use crate::meters::Meters;
use crate::stop::Stopped;
use closing::{AFTER_STOP, Phase};
use input::{Input, ReadError};
use messenger_core::{Connection, Driver, DriverLimits, Ended};
use messenger_proto::{BadRequest, Inbound, Outbound, Response, ServerCodec};
use output::Output;
use rest::Rest;
use room::Room;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::coop;
use tokio::time::Sleep;
use turn::Turn;
use websocket::Keepalive;

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
    rest: Rest,
    /// A request for a list of so many bytes, which waits for room; and the length of its frame.
    list: Option<Box<(Inbound, usize, usize)>>,
    /// Over WebSocket.
    keepalive: Option<Box<Keepalive>>,
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
            rest: Rest::default(),
            keepalive: None,
            transport,
            meters,
        }
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
            let was_catching_up = self.driver.is_catching_up();
            self.take_frames(cx);
            let wrote = self.write(cx)?;
            if self.is_finished() {
                ready!(self.finish(cx))?;
                return Poll::Ready(Ok(()));
            }
            // Nothing had waited for the client: its request for a list need not either.
            let lists = self.list.is_some() && was_catching_up && !self.driver.is_catching_up();
            // Writing everything made room for more, and so may replies have.
            let takes = !was_wanted && self.driver.wants_request(self.output.len());
            if !wrote && !lists && !takes {
                return Poll::Pending;
            }
        }
    }

    /// Takes requests until there are none, or no more are wanted, and queues what they are answered.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let waits = self.poll_list(cx).is_pending() || self.poll_rest(cx).is_pending();
            self.release_share();
            if waits {
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
            let is_alone = self.frame_gap().is_some();
            if is_alone && self.take_replies(cx) {
                continue;
            }
            self.input.set_limit(self.driver.frame_limit());
            match self.input.next() {
                Ok(Some(request)) => {
                    self.turn.note_request();
                    self.hand_over(request);
                }
                // What was handed over until now is begun together.
                Ok(None) if self.take_replies(cx) => {}
                Ok(None) if self.phase == Phase::Open => match self.read(cx) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => return Ok(()),
                },
                Ok(None) => {
                    // A frame that has not come whole will not.
                    self.take_no_more();
                    return Ok(());
                }
                Err(error) => self.refuse_input(&error),
            }
        }
    }

    /// Hands over a request, or what ought to have been one. One for a list waits until there is room for that.
    fn hand_over(&mut self, request: Result<Inbound, BadRequest>) {
        let length = self.input.length();
        let list = request.as_ref().ok();
        let list = list.and_then(|inbound| self.driver.list_bytes(inbound));
        match (request, list) {
            (Ok(inbound), Some(bytes)) => self.list = Some(Box::new((inbound, length, bytes))),
            (request, _) => self.driver.request(request, length),
        }
    }

    /// Gives back what the last frame took of the room for partial ones, unless its request waits for something that its
    /// client can delay.
    fn release_share(&mut self) {
        if self.list.is_none() && !self.driver.is_catching_up() {
            self.input.release_share();
        }
    }

    /// Reads some more, if it is there.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input.read(&mut self.stream, cx) {
            Poll::Ready(Ok(0)) => self.end_with_input(),
            Poll::Ready(Ok(read)) => self.note_read(read),
            Poll::Ready(Err(ReadError::Io(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(Err(evicted @ ReadError::Evicted)) => self.give_way(&evicted),
            Poll::Pending => {
                // Without a budget the runtime did not even look; the task is polled again.
                if self.stop.is_none() && coop::has_budget_remaining() {
                    // A frame that has not come whole will not.
                    self.take_no_more();
                    self.finish_stopping();
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
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
        // Behind what the client has to take first: meanwhile others have the room.
        let is_next = self.driver.is_idle()
            && !self.driver.is_catching_up()
            && self.output.is_empty()
            && !self.room.expects_list();
        if is_next && matches!(self.room.poll_list(bytes, cx), Poll::Ready(Ok(()))) {
            let (inbound, ..) = *list;
            self.driver.request(Ok(inbound), length);
            return Poll::Ready(());
        }
        self.list = Some(list);
        Poll::Pending
    }

    /// Waits until the client is read on.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever stops, or is told to, is not kept waiting.
        if self.phase != Phase::Open || self.stop.is_none() {
            self.rest.end();
        }
        self.rest.poll_end(cx)
    }

    /// Queues what is to be sent.
    #[inline]
    fn queue(&mut self, outbound: Outbound) {
        if let Outbound::Response(_) = &outbound {
            self.rest.extend(self.driver.take_rest());
        }
        match outbound {
            Outbound::Response(list @ (Response::Import(_) | Response::ContactList(_))) => {
                self.room.list_came();
                self.output.push_list(list);
            }
            other => self.output.push(&other),
        }
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
        if self.driver.is_finishing() && self.phase == Phase::Open {
            self.end_with_session();
        }
    }
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
