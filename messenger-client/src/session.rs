//! A session that outlives its connections.

use crate::{Client, ClientError, SessionEnd};
use keeper::{Keeper, Record};
use messenger_proto::{
    Action, ByteString, Inbound, Logout, MessageAccepted, SendMessage, SessionId, UserId,
};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

mod copies;
mod desk;
mod incoming;
pub(crate) mod keeper;
mod online;
mod outbox;
mod run;
mod state;
mod worker;

pub(crate) use desk::Desk;
pub use incoming::{Incoming, RefusedMessage, SessionEvent};
pub use state::{ConnectionState, Interruption, SendError, States};
pub(crate) use worker::Worker;

/// A device of a user: it connects, resumes its session, and connects again, for as long as there is one of its handles.
///
/// Messages that it is given are sent once, whatever the network does, and those that come are seen once. How it stands is told by
/// [`state`](Self::state) and [`states`](Self::states). Cheap to clone; the session is left when the last clone is dropped, and
/// goes on when it is begun again with the same [store](crate::StateStore).
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

/// What a session's handles and its worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) desk: Arc<Desk>,
    pub(crate) keeper: Keeper,
    pub(crate) record: parking_lot::Mutex<Record>,
    state: watch::Sender<ConnectionState>,
    /// The connection, while there is one.
    client: watch::Sender<Option<Client>>,
    stop: CancellationToken,
    /// Why it was stopped, if not because it was dropped.
    stopped: OnceLock<SessionEnd>,
}

/// A message that is in the outbox, to learn what becomes of it.
///
/// Dropping it does not take the message back.
#[derive(Debug)]
pub struct Receipt {
    mid: ByteString,
    outcome: oneshot::Receiver<outbox::Outcome>,
    state: watch::Receiver<ConnectionState>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let stop = shared.stop.clone().drop_guard();
        Self {
            shared,
            _stop: Arc::new(stop),
        }
    }

    /// Puts text for a user into the outbox.
    ///
    /// # Errors
    /// As [`send_message`](Self::send_message).
    ///
    /// # Cancel safety
    /// As [`send_message`](Self::send_message).
    pub async fn send(&self, uid: impl Into<UserId>, body: &str) -> Result<Receipt, SendError> {
        self.send_message(SendMessage::new(uid, body)).await
    }

    /// Puts a message into the outbox, and returns when the store has it. From then on it is sent, once, as soon as that is
    /// possible; to one recipient in this order. It gets a random [`mid`](SendMessage::mid) unless it has one.
    ///
    /// # Errors
    /// [`SendError::OutboxFull`] over [`OUTBOX_MESSAGES`](crate::OUTBOX_MESSAGES) or [`OUTBOX_BYTES`](crate::OUTBOX_BYTES),
    /// [`TooLong`](SendError::TooLong) over [`MESSAGE_BYTES`](crate::MESSAGE_BYTES), [`Store`](SendError::Store), and
    /// [`Ended`](SendError::Ended). The message is not sent then.
    ///
    /// # Cancel safety
    /// When the future was polled once, the message may be sent. To send it again is safe under the same `mid`.
    pub async fn send_message(&self, mut message: SendMessage) -> Result<Receipt, SendError> {
        let mid = match &message.mid {
            Some(mid) => mid.clone(),
            None => new_mid()?,
        };
        message.mid = Some(mid.clone());
        let frame = keeper::encode(&Inbound::new(message.clone()));
        let (outcome, kept) = {
            let state = self.shared.state.borrow();
            if let ConnectionState::Ended { why } = &*state {
                return Err(SendError::Ended(why.clone()));
            }
            let mut outbox = self.shared.desk.outbox.lock();
            let (number, outcome) = outbox.push(message, frame.len())?;
            (outcome, self.shared.keeper.keep(number, frame))
        };
        match kept.await {
            Ok(kept) => kept.map_err(SendError::Store)?,
            Err(_) => return Err(SendError::Ended(SessionEnd::Closed)),
        }
        Ok(Receipt {
            mid,
            outcome,
            state: self.shared.state.subscribe(),
        })
    }

    /// Carries out one action on the connection that there is now. Messages are better [sent](Self::send_message), and
    /// [`Auth`](crate::proto::Auth), [`Ack`](crate::proto::Ack) and [`Logout`] are the session's own.
    ///
    /// # Errors
    /// [`ClientError::Offline`] when there is no connection: then nothing was sent. [`ClientError::Closed`] when it ended
    /// meanwhile. Otherwise as [`Client::call`].
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    pub async fn call<A: Action>(&self, action: A) -> Result<A::Accepted, ClientError> {
        let client = self.shared.client.borrow().clone();
        match client {
            Some(client) => client.call(action).await,
            None => Err(self.no_connection()),
        }
    }

    /// As [`call`](Self::call), and waits so long for a connection and the answer.
    ///
    /// # Errors
    /// [`ClientError::Offline`] when there was no connection in that time, [`ClientError::TimedOut`] when there was no answer;
    /// otherwise as [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    pub async fn call_within<A: Action>(
        &self,
        time: Duration,
        action: A,
    ) -> Result<A::Accepted, ClientError> {
        let deadline = Instant::now() + time;
        let mut connection = self.shared.client.subscribe();
        let connected = connection.wait_for(Option::is_some);
        let ended = self.ended();
        let client = tokio::select! {
            client = timeout_at(deadline, connected) => match client {
                Ok(Ok(client)) => client.clone(),
                _ => None,
            },
            () = ended => None,
        };
        let client = client.ok_or_else(|| self.no_connection())?;
        match timeout_at(deadline, client.call(action)).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut),
        }
    }

    /// How the session stands.
    pub fn state(&self) -> ConnectionState {
        self.shared.state.borrow().clone()
    }

    /// How it stands, as that changes.
    pub fn states(&self) -> States {
        let mut states = self.shared.state.subscribe();
        states.mark_changed();
        States(states)
    }

    /// The user's id: as the server keeps it once the session has begun, until then as it was given.
    pub fn uid(&self) -> UserId {
        self.shared.record.lock().uid.clone()
    }

    /// The session's secret, for whoever keeps it elsewhere; empty until the session has begun.
    pub fn sid(&self) -> SessionId {
        self.shared.record.lock().sid.clone()
    }

    /// How many messages wait in the outbox, and how many bytes these have.
    pub fn outbox(&self) -> (usize, usize) {
        self.shared.desk.outbox.lock().size()
    }

    /// How many bytes of what is being sent the network has not taken yet, to show progress.
    pub fn unwritten_bytes(&self) -> usize {
        let client = self.shared.client.borrow();
        client
            .as_ref()
            .map_or_else(|| self.outbox().1, |client| client.activity().unwritten())
    }

    /// Ends the session at the server, and forgets it here. What waits in the outbox is not sent.
    ///
    /// # Errors
    /// As [`call`](Self::call); the session goes on then.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn log_out(&self) -> Result<(), ClientError> {
        self.call(Logout::new()).await?;
        let numbers = self.shared.desk.outbox.lock().clear();
        for number in numbers {
            self.shared.keeper.forget(number);
        }
        self.shared.keeper.forget_record();
        // Only the first reason counts.
        let _ = self.shared.stopped.set(SessionEnd::LoggedOut);
        self.shared.stop.cancel();
        Ok(())
    }

    /// Leaves the session, for all clones, and returns when the store is free for the next. A message that the application has
    /// been given counts as processed only if that was [said](Incoming::processed).
    ///
    /// # Cancel safety
    /// When the future was polled once, the session ends.
    pub async fn close(self) {
        self.shared.stop.cancel();
        self.ended().await;
        // An error says that the store is free already.
        let _ = self.shared.keeper.close().await;
    }

    async fn ended(&self) {
        let mut state = self.shared.state.subscribe();
        let is_ended = |state: &ConnectionState| matches!(state, ConnectionState::Ended { .. });
        // The sender is there for as long as this is.
        let _ = state.wait_for(is_ended).await;
    }

    fn no_connection(&self) -> ClientError {
        match self.state() {
            ConnectionState::Ended { why } => ClientError::Ended(why),
            _ => ClientError::Offline,
        }
    }
}

impl Shared {
    pub(crate) fn new(desk: Arc<Desk>, keeper: Keeper, record: Record) -> Self {
        Self {
            desk,
            keeper,
            record: record.into(),
            state: watch::Sender::new(ConnectionState::Connecting),
            client: watch::Sender::new(None),
            stop: CancellationToken::new(),
            stopped: OnceLock::new(),
        }
    }

    pub(crate) fn set_state(&self, state: ConnectionState) {
        self.state.send_replace(state);
    }

    pub(crate) fn connect(&self, client: Client) {
        self.client.send_replace(Some(client));
    }

    /// There is no connection any more. What was on its way waits again.
    pub(crate) fn disconnect(&self) {
        if let Some(client) = self.client.send_replace(None) {
            client.close();
        }
        self.desk.outbox.lock().put_all_back();
    }

    /// Waits until somebody stops the session.
    pub(crate) async fn stopped(&self) -> SessionEnd {
        self.stop.cancelled().await;
        self.stopped.get().cloned().unwrap_or(SessionEnd::Closed)
    }

    /// Changes what is remembered, and returns when the store has that.
    pub(crate) async fn change_record(
        &self,
        change: impl FnOnce(&mut Record) + Send,
    ) -> Result<(), SessionEnd> {
        let kept = {
            let mut record = self.record.lock();
            change(&mut record);
            self.keeper.record(&record)
        };
        match kept.await {
            Ok(kept) => kept.map_err(SessionEnd::Store),
            Err(_) => Err(SessionEnd::Closed),
        }
    }

    pub(crate) fn end(&self) -> SessionEnd {
        match &*self.state.borrow() {
            ConnectionState::Ended { why } => why.clone(),
            _ => SessionEnd::Closed,
        }
    }
}

impl Receipt {
    /// The message's own id.
    pub fn mid(&self) -> &str {
        &self.mid
    }

    /// Waits until the server has accepted the message.
    ///
    /// # Errors
    /// [`SendError::Refused`]: it is not sent again. [`SendError::Ended`]: it is in the outbox still.
    ///
    /// # Cancel safety
    /// Dropping the future drops the receipt. The message is sent nevertheless; if it is refused,
    /// [`SessionEvent::Refused`](crate::SessionEvent::Refused) tells.
    pub async fn accepted(self) -> Result<MessageAccepted, SendError> {
        match self.outcome.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(SendError::Ended(match &*self.state.borrow() {
                ConnectionState::Ended { why } => why.clone(),
                _ => SessionEnd::Closed,
            })),
        }
    }
}

/// 128 random bits, as text. Like a server's secrets they come from the system.
fn new_mid() -> Result<ByteString, SendError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| SendError::Store(Arc::new(error.into())))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bits)).into())
}
