//! Messages that the server has not accepted yet.

use super::state::SendError;
use crate::limits::{MESSAGE_BYTES, ON_THEIR_WAY, OUTBOX_BYTES, OUTBOX_MESSAGES};
use messenger_proto::{Failure, MessageAccepted, SendMessage, UserId};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::oneshot;

pub(crate) type Outcome = Result<MessageAccepted, Failure>;

/// Messages in the order in which they were given, by number.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// Of all entries.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    message: SendMessage,
    bytes: usize,
    state: State,
    /// Who waits for the outcome.
    receipt: Option<oneshot::Sender<Outcome>>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It is being written to the store.
    Unkept,
    Waiting,
    OnItsWay,
    /// The application has not been told yet.
    Refused(Failure),
}

impl Outbox {
    /// Puts a message in, which is sent once it is in the store.
    pub(crate) fn push(
        &mut self,
        message: SendMessage,
        bytes: usize,
    ) -> Result<(u64, oneshot::Receiver<Outcome>), SendError> {
        if bytes > MESSAGE_BYTES {
            let limit = MESSAGE_BYTES;
            return Err(SendError::TooLong { limit });
        }
        if self.entries.len() >= OUTBOX_MESSAGES || self.bytes + bytes > OUTBOX_BYTES {
            return Err(SendError::OutboxFull {
                messages: OUTBOX_MESSAGES,
                bytes: OUTBOX_BYTES,
            });
        }
        let (receipt, outcome) = oneshot::channel();
        let number = self.next;
        self.insert(number, message, bytes, State::Unkept, Some(receipt));
        Ok((number, outcome))
    }

    /// Puts back a message that an earlier run has left in the store.
    pub(crate) fn restore(&mut self, number: u64, message: SendMessage, bytes: usize) {
        self.insert(number, message, bytes, State::Waiting, None);
    }

    fn insert(
        &mut self,
        number: u64,
        message: SendMessage,
        bytes: usize,
        state: State,
        receipt: Option<oneshot::Sender<Outcome>>,
    ) {
        let entry = Entry {
            message,
            bytes,
            state,
            receipt,
        };
        self.entries.insert(number, entry);
        self.bytes += bytes;
        self.next = self.next.max(number + 1);
    }

    /// It may be sent: it is in the store now, or its answer did not come, or asked to try later.
    pub(crate) fn wait(&mut self, number: u64) {
        self.set(number, State::Waiting);
    }

    /// Nothing is on its way any more.
    pub(crate) fn put_all_back(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.state == State::OnItsWay {
                entry.state = State::Waiting;
            }
        }
    }

    fn set(&mut self, number: u64, state: State) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.state = state;
        }
    }

    /// What can be sent now: for each recipient the oldest, so that none overtakes another.
    pub(crate) fn take_due(&mut self) -> Vec<(u64, SendMessage)> {
        let is_on_its_way = |entry: &&Entry| entry.state == State::OnItsWay;
        let mut room =
            ON_THEIR_WAY.saturating_sub(self.entries.values().filter(is_on_its_way).count());
        let mut before: HashSet<UserId> = HashSet::new();
        let mut due = Vec::new();
        for (&number, entry) in &mut self.entries {
            if room == 0 {
                break;
            }
            if matches!(entry.state, State::Refused(_)) || !before.insert(entry.message.uid.clone())
            {
                continue;
            }
            if entry.state == State::Waiting {
                entry.state = State::OnItsWay;
                due.push((number, entry.message.clone()));
                room -= 1;
            }
        }
        due
    }

    /// The server has accepted it.
    pub(crate) fn accepted(&mut self, number: u64, accepted: MessageAccepted) {
        if let Some(receipt) = self.remove(number) {
            // Whoever sent it may not care.
            let _ = receipt.send(Ok(accepted));
        }
    }

    /// The server refuses it. True when somebody was told; otherwise it stays until the application
    /// [is](Self::refused).
    pub(crate) fn refuse(&mut self, number: u64, failure: Failure) -> bool {
        let receipt = self
            .entries
            .get_mut(&number)
            .and_then(|entry| entry.receipt.take());
        let told = match receipt {
            Some(receipt) => receipt.send(Err(failure.clone())).is_ok(),
            None => false,
        };
        if told {
            self.remove(number);
        } else {
            self.set(number, State::Refused(failure));
        }
        told
    }

    /// A message whose refusal nobody was told yet.
    pub(crate) fn refused(&self) -> Option<(u64, SendMessage, Failure)> {
        self.entries
            .iter()
            .find_map(|(&number, entry)| match &entry.state {
                State::Refused(failure) => Some((number, entry.message.clone(), failure.clone())),
                _ => None,
            })
    }

    /// Takes a message out, whatever becomes of it.
    pub(crate) fn remove(&mut self, number: u64) -> Option<oneshot::Sender<Outcome>> {
        let entry = self.entries.remove(&number)?;
        self.bytes -= entry.bytes;
        entry.receipt
    }

    /// Takes all out, and tells their numbers.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        self.bytes = 0;
        std::mem::take(&mut self.entries).into_keys().collect()
    }

    /// Whoever waits for an outcome waits no more.
    pub(crate) fn drop_receipts(&mut self) {
        for entry in self.entries.values_mut() {
            entry.receipt = None;
        }
    }

    /// How many messages it holds, and how many bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}
