//! Whether service is there: every node takes a message, and every node gives it.

use super::cluster::{Cluster, NODES};
use super::node::{Session, is_done};
use super::patience::{RECOVERY, SLACK};
use futures_util::future::join_all;
use messenger_client::proto::SendMessage;
use std::collections::BTreeSet;
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

impl Probe {
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let mut sessions = Vec::new();
        for node in &cluster.nodes {
            let line = node.connect().await.unwrap();
            sessions.push(line.log_in(LOGIN, true).await);
        }
        Self {
            sessions,
            rounds: 0,
        }
    }

    /// Waits until service is there, for no longer than it may take; how long it was.
    pub(crate) async fn is_served(&mut self, cluster: &Cluster) -> Duration {
        self.rounds += 1;
        let begun = Instant::now();
        let stalled = cluster.patience.stalled();
        let served = (0..NODES).map(|number| self.is_served_at(cluster, number));
        let most = RECOVERY + SLACK;
        let mut served = std::pin::pin!(join_all(served));
        while timeout(PAUSE, &mut served).await.is_err() {
            let stalled = cluster.patience.stalled() - stalled;
            assert!(
                begun.elapsed() < most + stalled,
                "no service after {:?}",
                begun.elapsed()
            );
        }
        begun.elapsed()
    }

    async fn is_served_at(&self, cluster: &Cluster, number: usize) {
        let node = &cluster.nodes[number];
        let mut missing: BTreeSet<_> = (0..NODES).map(|node| self.body(node)).collect();
        let mut is_sent = false;
        while !missing.is_empty() || !is_sent {
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
            is_sent |= is_done(line.ask("a probe", sending).await).is_some();
            while is_sent && !missing.is_empty() {
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
