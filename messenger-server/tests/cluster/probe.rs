//! Whether service is there: every node takes a message, and every node gives it.

use super::cluster::{Cluster, NODES};
use super::node::{Session, is_done};
use super::patience::RECOVERY;
use futures_util::future::join_all;
use messenger_client::proto::SendMessage;
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const LOGIN: &str = "probe";

/// How long it is waited before the next attempt, and for an event before the connection is made anew.
const PAUSE: Duration = Duration::from_millis(50);

/// A user with a device at each node.
pub(crate) struct Probe {
    sessions: Vec<Session>,
    rounds: usize,
}

/// After what time service was there.
pub(crate) struct Served {
    /// Each node had taken a message.
    taken: Vec<Duration>,
    /// Each had given all of them.
    given: Duration,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken: Vec<_> = self.taken.iter().map(Duration::as_millis).collect();
        write!(
            f,
            "{} ms; messages taken after {taken:?}",
            self.given.as_millis()
        )
    }
}

impl Probe {
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let sessions = cluster.nodes.iter().map(async |node| {
            let line = node.connect().await.unwrap();
            line.log_in(LOGIN, true).await
        });
        Self {
            sessions: join_all(sessions).await,
            rounds: 0,
        }
    }

    /// Waits until service is there, for no longer than it may take.
    pub(crate) async fn is_served(&mut self, cluster: &Cluster) -> Served {
        self.rounds += 1;
        let patience = &cluster.patience;
        let (begun, waiting) = (Instant::now(), patience.begin());
        let served = (0..NODES).map(|number| self.is_served_at(cluster, number, begun));
        let mut served = std::pin::pin!(join_all(served));
        loop {
            if let Ok(taken) = timeout(PAUSE, &mut served).await {
                let given = begun.elapsed();
                return Served { taken, given };
            }
            patience.check("service", &waiting, RECOVERY);
        }
    }

    /// After what time the node has taken the message.
    async fn is_served_at(&self, cluster: &Cluster, number: usize, begun: Instant) -> Duration {
        let node = &cluster.nodes[number];
        let mut missing: BTreeSet<_> = (0..NODES).map(|node| self.body(node)).collect();
        let mut taken = None;
        loop {
            if let Some(taken) = taken
                && missing.is_empty()
            {
                return taken;
            }
            sleep(PAUSE).await;
            let Some(mut line) = node.connect().await else {
                continue;
            };
            if !line.resume(&self.sessions[number], 0).await {
                continue;
            }
            let body = self.body(number);
            let message = SendMessage::new(LOGIN, body.as_str()).mid(body);
            let sending = line.client.send_message(message);
            let sent = is_done(line.ask("a probe", sending).await);
            taken = taken.or(sent.map(|_| begun.elapsed()));
            while taken.is_some() && !missing.is_empty() {
                let Ok(event) = line.events.next_message().await else {
                    break;
                };
                missing.remove(event.message.body.as_str());
            }
            let _ = line
                .ask(
                    "an acknowledgement",
                    line.client.ack(line.events.last_seq()),
                )
                .await;
        }
    }

    fn body(&self, node: usize) -> String {
        format!("round {} of node {node}", self.rounds)
    }
}
