//! What comes to a session.

use super::Shared;
use crate::SessionEnd;
use messenger_proto::{EvMessage, Failure, SendMessage};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a session tells its application unasked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A message for this user (with a `seq`), or the user's own copy of one that was sent.
    Message(EvMessage),
    /// A message that was refused, and nobody waits for its [`Receipt`](super::Receipt): perhaps an earlier run has sent it.
    Refused(RefusedMessage),
}

/// A message that will not be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedMessage {
    /// The message.
    pub message: SendMessage,
    /// What the server said.
    pub failure: Failure,
}

/// What comes to a session, each message once.
///
/// A message counts as **processed** when the next event is asked for, or when [`processed`](Self::processed) is called. Only then the
/// server is told, so a message that a program was working on when it ended comes again, and no other. (A program that keeps the
/// effects of a message together with its `seq`, and tells the builder [which was the last](crate::Builder::processed), is
/// spared that one, too.)
///
/// When events are not taken, at most 64 MiB of them wait in memory and the others at the server. Dropping this leaves all messages
/// that come from then on unprocessed.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: mpsc::Receiver<SessionEvent>,
    /// The sequence number of the message that the application works on.
    pub(crate) at_work: Option<u64>,
}

impl Incoming {
    /// The next event. The one before counts as processed, which the store knows before this returns.
    ///
    /// # Errors
    /// The session has ended, and [why](SessionEnd); every later call says the same.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<SessionEvent, SessionEnd> {
        self.processed().await?;
        let event = self.events.recv().await;
        let event = event.ok_or_else(|| self.shared.end())?;
        if let SessionEvent::Message(message) = &event {
            self.at_work = message.seq;
        }
        Ok(event)
    }

    /// The next message, for whoever wants no other events.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    /// As [`next`](Self::next).
    pub async fn next_message(&mut self) -> Result<EvMessage, SessionEnd> {
        loop {
            if let SessionEvent::Message(message) = self.next().await? {
                return Ok(message);
            }
        }
    }

    /// Says that all messages given so far are processed, and returns when the store knows.
    ///
    /// # Errors
    /// The store has failed, or the session was closed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether they are.
    pub async fn processed(&mut self) -> Result<(), SessionEnd> {
        let Some(seq) = self.at_work else {
            return Ok(());
        };
        let changed = self.shared.change_record(|record| record.processed = seq);
        changed.await?;
        self.at_work = None;
        self.shared.desk.changed.notify_one();
        Ok(())
    }
}
