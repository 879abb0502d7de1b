//! A recipient's device: it reads at any node, and wanders from one to the other.

use super::cluster::Cluster;
use super::node::{Line, Session, is_done};
use super::sender::{END, ONCE, Stage};
use messenger_client::proto::EvMessage;
use messenger_core::testing::SeededEntropy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a device lets an acknowledgement wait at the most, in milliseconds.
const ACK_EVERY_MS: usize = 700;

/// It goes to another node at one acknowledgement of so many.
const STAYS: usize = 10;

pub(crate) struct Device {
    pub(crate) user: String,
    session: Session,
    /// It acknowledges what it has processed, and has to be given every message exactly once.
    pub(crate) acks: bool,
    random: SeededEntropy,
    /// The last sequence number processed.
    seen: u64,
    /// What it has processed, in order.
    pub(crate) processed: Vec<(u64, String)>,
    /// The number of the last message from each sender.
    last: BTreeMap<String, usize>,
    /// How many senders have ended.
    ends: usize,
}

impl Device {
    pub(crate) fn new(user: String, session: Session, acks: bool, random: SeededEntropy) -> Self {
        Self {
            user,
            session,
            acks,
            random,
            seen: 0,
            processed: Vec::new(),
            last: BTreeMap::new(),
            ends: 0,
        }
    }

    /// Reads until it has everything of so many senders. One that does not acknowledge may miss what was on its way
    /// when its connection was cut, so it reads until the run is over.
    pub(crate) async fn run(
        mut self,
        cluster: Arc<Cluster>,
        senders: usize,
        mut stage: watch::Receiver<Stage>,
    ) -> Self {
        while !self.has_all(senders) && *stage.borrow() != Stage::Over {
            let mut line = cluster.connect(&self.random).await;
            let seen = if self.acks { self.seen } else { 0 };
            if line.resume(&self.session, seen).await {
                self.read(&mut line, senders, &mut stage).await;
            } else {
                sleep(Duration::from_millis(50)).await;
            }
        }
        self
    }

    fn has_all(&self, senders: usize) -> bool {
        self.acks && self.ends == senders
    }

    /// Reads until the connection ends, or the device goes elsewhere.
    async fn read(&mut self, line: &mut Line, senders: usize, stage: &mut watch::Receiver<Stage>) {
        // The sequence number before on this connection.
        let mut before = None;
        loop {
            let pause = u64::try_from(self.random.below(ACK_EVERY_MS)).unwrap();
            let acknowledging = sleep(Duration::from_millis(pause));
            tokio::pin!(acknowledging);
            loop {
                tokio::select! {
                    event = line.events.next_message() => match event {
                        Ok(event) => self.process(&event, &mut before),
                        Err(_) => return,
                    },
                    () = &mut acknowledging => break,
                    _ = stage.wait_for(|stage| *stage == Stage::Over) => return,
                }
            }
            let seq = if self.acks { self.seen } else { 0 };
            let answer = line.ask("an acknowledgement", line.client.ack(seq)).await;
            let is_answered = is_done(answer).is_some();
            if !is_answered || self.has_all(senders) || self.random.below(STAYS) == 0 {
                return;
            }
        }
    }

    fn process(&mut self, event: &EvMessage, before: &mut Option<u64>) {
        let seq = event.seq.expect("an inbox message");
        let name = format!("{} of {:?}", seq, self.session.0);
        if let Some(before) = before.replace(seq) {
            assert_eq!(seq, before + 1, "{name}: not the next on its connection");
        }
        if seq <= self.seen {
            assert!(!self.acks, "{name} was given twice");
            return;
        }
        assert!(
            !self.acks || seq == self.seen + 1,
            "{name} comes behind {}",
            self.seen
        );
        self.seen = seq;
        let body = event.message.body.as_str().to_owned();
        self.note_order(&body);
        self.processed.push((seq, body));
    }

    /// What a sender sends again until it is accepted comes in the order of its numbers.
    fn note_order(&mut self, body: &str) {
        let mut words = body.split(' ');
        let (sender, number) = (words.next().unwrap(), words.next().unwrap());
        if number == END {
            self.ends += 1;
        } else if words.next() != Some(ONCE) {
            let number = number.parse().unwrap();
            let before = self.last.insert(sender.to_owned(), number);
            assert!(before < Some(number), "{body:?} comes behind {before:?}");
        }
    }
}
