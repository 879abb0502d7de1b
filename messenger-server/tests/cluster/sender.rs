//! A sender: it sends numbered messages from any node, one after the other, and again what was not answered.

use super::cluster::Cluster;
use super::node::{Line, Session, is_done};
use messenger_client::ClientError;
use messenger_client::proto::SendMessage;
use messenger_core::testing::SeededEntropy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The longest that a sender waits between two messages, in milliseconds.
const PAUSE_MS: usize = 60;

/// How long a client waits when it was told to try later.
const LATER: Duration = Duration::from_millis(100);

/// After so many messages a sender goes to another node.
const MESSAGES_AT_A_NODE: usize = 100;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    Running,
    /// Senders send their last message.
    Ending,
    /// Everything was given.
    Over,
}

/// The last message of each sender to each recipient.
pub(crate) const END: &str = "end";

/// At the end of a message without a `mid`, which is not sent again.
pub(crate) const ONCE: &str = "once";

/// What all senders do.
#[derive(Default)]
pub(crate) struct Load {
    /// They send to the first recipient alone, and without a pause.
    pub(crate) is_hot: AtomicBool,
    /// How many messages were accepted.
    pub(crate) accepted: AtomicUsize,
}

/// What was sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// Bodies accepted, by recipient, in the order in which they were sent.
    pub(crate) accepted: BTreeMap<String, Vec<String>>,
    /// Bodies without a `mid` that were not accepted. They may be stored, and are not sent again.
    pub(crate) perhaps: BTreeSet<String>,
}

pub(crate) struct Sender {
    pub(crate) login: String,
    session: Session,
    recipients: Vec<String>,
    load: Arc<Load>,
    random: SeededEntropy,
    next: usize,
    unanswered: Option<SendMessage>,
    pub(crate) sent: Sent,
}

impl Sender {
    pub(crate) fn new(
        login: String,
        session: Session,
        recipients: Vec<String>,
        load: Arc<Load>,
        random: SeededEntropy,
    ) -> Self {
        Self {
            login,
            session,
            recipients,
            load,
            random,
            next: 0,
            unanswered: None,
            sent: Sent::default(),
        }
    }

    /// Sends until the run ends.
    pub(crate) async fn run(
        mut self,
        cluster: Arc<Cluster>,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        while *stage.borrow() == Stage::Running {
            let mut line = cluster.connect(&self.random).await;
            if !line.resume(&self.session, 0).await {
                sleep(LATER).await;
                continue;
            }
            for _ in 0..MESSAGES_AT_A_NODE {
                let is_over = *stage.borrow() != Stage::Running;
                if is_over || !self.send_next(&line).await {
                    break;
                }
            }
        }
        self.send_ends(&cluster).await;
        self
    }

    async fn send_ends(&mut self, cluster: &Cluster) {
        let mut ends = self.recipients.clone();
        while self.unanswered.is_some() || !ends.is_empty() {
            let mut line = cluster.connect(&self.random).await;
            if !line.resume(&self.session, 0).await {
                sleep(LATER).await;
                continue;
            }
            while let Some(message) = self.unanswered.take().or_else(|| {
                let to = ends.pop()?;
                Some(SendMessage::new(to, format!("{} {END}", self.login)).mid(END))
            }) {
                if !self.send(&line, message).await {
                    break;
                }
            }
        }
    }

    /// Sends what was not answered, or else the next message. False when the connection has ended.
    async fn send_next(&mut self, line: &Line) -> bool {
        let is_hot = self.load.is_hot.load(Ordering::Relaxed);
        if !is_hot {
            let pause = self.random.below(PAUSE_MS);
            sleep(Duration::from_millis(u64::try_from(pause).unwrap())).await;
        }
        let message = match self.unanswered.take() {
            Some(message) => message,
            None => self.compose(is_hot),
        };
        self.send(line, message).await
    }

    fn compose(&mut self, is_hot: bool) -> SendMessage {
        let to = match is_hot {
            true => 0,
            false => self.random.below(self.recipients.len()),
        };
        let (to, number) = (self.recipients[to].as_str(), self.next);
        self.next += 1;
        let body = format!("{} {number}", self.login);
        match self.random.below(4) {
            0 => SendMessage::new(to, format!("{body} {ONCE}")),
            _ => SendMessage::new(to, body).mid(format!("mid {number}")),
        }
    }

    /// False when the connection has ended.
    async fn send(&mut self, line: &Line, message: SendMessage) -> bool {
        let body = message.body.as_str().to_owned();
        let sending = line.client.send_message(message.clone());
        let answer = line.ask("a message", sending).await;
        let is_connected = !matches!(answer, Err(ClientError::Closed));
        if is_done(answer).is_some() {
            let to = message.uid.as_str().to_owned();
            self.load.accepted.fetch_add(1, Ordering::Relaxed);
            self.sent.accepted.entry(to).or_default().push(body);
            return true;
        }
        match message.mid {
            Some(_) => self.unanswered = Some(message),
            None => {
                self.sent.perhaps.insert(body);
            }
        }
        if is_connected {
            sleep(LATER).await;
        }
        is_connected
    }
}
