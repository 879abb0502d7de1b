//! What a session works with, and how it logs in on a new connection.

use super::keeper::Record;
use super::state::{Interruption, Stop, is_passing};
use super::{SessionEvent, Shared};
use crate::limits::{FIRST_DELAY, LONGEST_DELAY};
use crate::transport::Connect;
use crate::{Client, ClientError, Events, EventsEnded, SessionEnd, over};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use messenger_proto::{AuthAccepted, ErrorCode, Password, UserId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connector: Box<dyn Connect>,
    /// With what another session is begun.
    pub(crate) credentials: Option<(UserId, Password)>,
    pub(crate) events: mpsc::Sender<SessionEvent>,
    /// The sequence number of the last message given to the application.
    pub(crate) received: u64,
    pub(crate) copies: super::copies::Copies,
}

/// Waits that grow.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .without_max_times()
            .with_jitter();
        Self(builder.build())
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST_DELAY)
    }
}

impl Worker {
    pub(crate) async fn log_in(&mut self) -> Result<(Client, Events), Stop> {
        let stream = self.connector.connect().await;
        let (client, events) = over(stream.map_err(crate::ConnectionError::from)?).await?;
        let record = self.shared.record.lock().clone();
        let resumed = if record.sid.is_empty() {
            false
        } else {
            let Record {
                uid,
                sid,
                processed,
            } = &record;
            let resumed = client.resume_and_ack(uid, sid, *processed).await;
            self.is_resumed(resumed).await?
        };
        if !resumed {
            self.begin(&client, record.processed).await?;
        }
        Ok((client, events))
    }

    /// Whether the session goes on; it does not when it was ended.
    async fn is_resumed(&mut self, resumed: Result<(), ClientError>) -> Result<bool, Stop> {
        match resumed {
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::NeedAuth => Ok(false),
            other => self.acknowledged(other).await.map(|()| true),
        }
    }

    /// Begins another session.
    async fn begin(&mut self, client: &Client, processed: u64) -> Result<(), Stop> {
        let Some((login, pass)) = self.credentials.clone() else {
            return Err(SessionEnd::SessionEnded.into());
        };
        let AuthAccepted { uid, sid, .. } = client.auth_with_ack(login.as_str(), &pass).await?;
        self.shared
            .change_record(|record| {
                record.uid = uid;
                record.sid = sid;
            })
            .await?;
        if processed > 0 {
            // It begins behind what is delivered to any session, and we have perhaps processed more than that.
            let answer = client.ack(processed).await;
            self.acknowledged(answer).await?;
        }
        Ok(())
    }

    /// What was processed is known to the server now. If there is no such message, the account is another than the one of
    /// which we remember that: its messages are numbered anew.
    async fn acknowledged(&mut self, answer: Result<(), ClientError>) -> Result<(), Stop> {
        match answer {
            Err(ClientError::Refused(failure)) if !is_passing(&failure) => {
                self.received = 0;
                let renumbered = self.shared.change_record(|record| record.processed = 0);
                Ok(renumbered.await?)
            }
            other => Ok(other?),
        }
    }
}

/// The end of a connection whose reason nobody was told.
pub(crate) fn closed() -> Stop {
    Interruption::Ended(EventsEnded::Closed).into()
}
