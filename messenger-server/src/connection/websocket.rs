//! WebSocket (RFC 6455) as the framing of a connection: one JSON object a text message.
//!
//! Here is what a message costs: headers, masks, fragments. Payloads are read as they come, so that what has come of
//! a message is held to the same bounds as a partial frame over TCP. The HTTP upgrade before it is in
//! [`crate::websocket`].

mod close;
mod decoder;
mod header;
mod keepalive;

pub(super) use close::Close;
pub(super) use decoder::{Decoded, FrameDecoder, FrameError};
pub(super) use header::{Opcode, ROOM, put_header, whole_header};
pub(super) use keepalive::Keepalive;

use super::ConnectionTask;
use crate::Transport;
use keepalive::Silence;
use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
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

    /// Answers a ping, and asks a client for a sign of life that has been silent.
    pub(super) fn keep_alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.keepalive.is_none() {
            return Ok(());
        }
        if let Some(ping) = self.input.take_ping() {
            self.output.push_pong(&ping);
        }
        let is_deaf = !self.is_listening();
        let keepalive = self.keepalive.as_mut();
        match keepalive.map(|keepalive| keepalive.poll(is_deaf, cx)) {
            Some(Poll::Ready(Silence::GiveUp)) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client answers no ping",
            )),
            Some(Poll::Ready(Silence::Ask)) => {
                self.output.push_ping();
                Ok(())
            }
            Some(Poll::Pending) | None => Ok(()),
        }
    }

    /// True while the client can be heard.
    fn is_listening(&mut self) -> bool {
        self.is_open()
            && self.driver.wants_request(self.output.len())
            && !self.rest.is_on()
            && self.list.is_none()
            && !self.input.is_waiting_for_room()
    }
}
