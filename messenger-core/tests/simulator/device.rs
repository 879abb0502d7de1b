//! A client program on somebody's device, and the network between it and the server.

use futures_util::FutureExt;
use messenger_core::proto::{
    Ack, Auth, Credentials, EvMessage, Failure, Inbound, MessageAccepted, Request, Response,
    SendMessage, UserId,
};
use messenger_core::{Connection, Delivery, Engine, Event};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// A client program. It remembers what a real one would keep in a file.
pub(crate) struct Device {
    pub(crate) user: UserId,
    /// It acknowledges what it has processed.
    pub(crate) acks: bool,
    credentials: Credentials,
    connection: Option<Link>,
    /// The sequence number above which its session began, once it was given anything.
    pub(crate) start: Option<u64>,
    /// What it has processed: sequence numbers and messages, in order.
    pub(crate) processed: Vec<EvMessage>,
    /// The last sequence number processed.
    pub(crate) seen: u64,
    acked: u64,
    /// The server said that the session has ended.
    pub(crate) ended: bool,
}

struct Link {
    session: Connection,
    /// Written by the server, not yet read by the device.
    wire: VecDeque<EvMessage>,
    /// The last sequence number taken from this connection, which may not go back.
    last: u64,
}

/// What the store answers at once, the simulation has at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits in the simulation")
}

impl Device {
    /// Logs in anew.
    pub(crate) fn log_in(engine: &Engine, user: &UserId, acks: bool) -> Self {
        let session = engine.connect();
        let mut auth = Auth::new(user.as_str().to_owned(), "secret");
        auth.ack = acks;
        let accepted = now(session.call(auth)).expect("the password is right");
        Self {
            user: user.clone(),
            acks,
            credentials: Credentials::new(accepted.uid, accepted.sid),
            connection: Some(Link::new(session)),
            start: None,
            processed: Vec::new(),
            seen: 0,
            acked: 0,
            ended: false,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects again and resumes the session.
    pub(crate) fn resume(&mut self, engine: &Engine) {
        let session = engine.connect();
        let inbound = Inbound::new(Request::Ack(Ack::new(0))).credentials(self.credentials.clone());
        let reply = now(session.handle(inbound));
        match reply.response {
            Response::Ack(Ok(())) => self.connection = Some(Link::new(session)),
            Response::Ack(Err(failure)) if failure.code.number() == 6 => self.ended = true,
            other => panic!("resuming was answered with {other:?}"),
        }
    }

    /// The connection is cut; what was on the wire is lost.
    pub(crate) fn cut(&mut self) {
        self.connection = None;
    }

    /// Sends a message and reads the reply. `None` when the session turns out to have ended.
    pub(crate) fn send(
        &mut self,
        message: SendMessage,
    ) -> Option<Result<MessageAccepted, Failure>> {
        let connection = self.connection.as_ref()?;
        let result = now(connection.session.call(message));
        if matches!(&result, Err(failure) if failure.code.number() == 6) {
            self.ended = true;
            self.connection = None;
            return None;
        }
        Some(result)
    }

    /// The server writes up to `most` events. Without acknowledgements, what is written is given:
    /// the device's system has it.
    pub(crate) fn receive(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let Poll::Ready(delivery) = connection.session.poll_event(&mut cx) else {
                break;
            };
            let Ok(Delivery { event, token, .. }) = delivery else {
                self.connection = None;
                return;
            };
            let Event::Message(event) = event else {
                panic!("an event that is no message");
            };
            if let Some(token) = token {
                connection.session.delivered([token]);
            }
            connection.wire.push_back(event);
        }
        if !self.acks {
            self.process(usize::MAX);
        }
    }

    /// The device processes up to `most` of what is on the wire.
    pub(crate) fn process(&mut self, most: usize) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        for _ in 0..most {
            let Some(event) = connection.wire.pop_front() else {
                return;
            };
            let Some(seq) = event.seq else {
                continue;
            };
            assert!(seq > connection.last, "went back on one connection");
            connection.last = seq;
            let start = *self.start.get_or_insert(seq - 1);
            assert!(seq <= self.seen.max(start) + 1, "a message was passed over");
            if seq > self.seen {
                self.seen = seq;
                self.processed.push(event);
            }
        }
    }

    /// Acknowledges what was processed.
    pub(crate) fn acknowledge(&mut self) {
        if self.acks && self.acked != self.seen {
            self.ask(self.seen);
        }
    }

    /// Makes a request that changes nothing, to learn whether the session still lives.
    pub(crate) fn probe(&mut self) {
        self.ask(0);
    }

    fn ask(&mut self, seq: u64) {
        let Some(connection) = &self.connection else {
            return;
        };
        match now(connection.session.call(Ack::new(seq))) {
            Ok(()) => self.acked = self.acked.max(seq),
            Err(failure) if failure.code.number() == 6 => {
                self.ended = true;
                self.connection = None;
            }
            Err(failure) => panic!("an acknowledgement was refused: {failure}"),
        }
    }
}

impl Link {
    fn new(session: Connection) -> Self {
        Self {
            session,
            wire: VecDeque::new(),
            last: 0,
        }
    }
}
