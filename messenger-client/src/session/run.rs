//! The task that keeps a session going: it connects, logs in, and begins again when the connection ends.

use super::online::Online;
use super::state::{ConnectionState, Interruption, Stop};
use super::worker::{Backoff, Worker};
use crate::SessionEnd;
use crate::limits::{STEADY, TIME_TO_LOG_IN};
use std::sync::Arc;
use tokio::time::{Instant, sleep, timeout};

impl Worker {
    /// Works until the session ends, or its last handle is dropped.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let end = tokio::select! {
            end = self.work() => end,
            end = shared.stopped() => end,
        };
        // Whoever waits for something looks there why it does not come.
        shared.set_state(ConnectionState::Ended { why: end });
        shared.disconnect();
        shared.desk.outbox.lock().drop_receipts();
    }

    async fn work(&mut self) -> SessionEnd {
        let mut backoff = Backoff::new();
        loop {
            self.shared.set_state(ConnectionState::Connecting);
            let started = Instant::now();
            let stop = self.one_connection().await;
            self.shared.disconnect();
            let why = match stop {
                Stop::Ended(end) => return end,
                Stop::Interrupted(why) => why,
            };
            if started.elapsed() >= STEADY {
                backoff = Backoff::new();
            }
            let delay = backoff.next();
            let until = (Instant::now() + delay).into_std();
            self.shared
                .set_state(ConnectionState::Offline { why, until });
            sleep(delay).await;
        }
    }

    /// From connecting to the connection's end.
    async fn one_connection(&mut self) -> Stop {
        let (client, events) = match timeout(TIME_TO_LOG_IN, self.log_in()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(stop)) => return stop,
            Err(_) => return Interruption::Silent.into(),
        };
        self.shared.connect(client.clone());
        self.shared.set_state(ConnectionState::Online);
        Online::new(self, client, events).run().await
    }
}
