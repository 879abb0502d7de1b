//! What the engine counts, through the `metrics` facade: whatever recorder the program has installed
//! before it builds the engine gets it, and without one it costs nothing.

use crate::sharded_counter::ShardedCounter;
use messenger_proto::{Action, ErrorCode, Request, Response, SendMessage};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// The names that are told apart beside those of actions: of an answer to none of them, and of an action that
/// a newer protocol library has.
const OTHERS: [&str; 2] = ["unknown", "other"];

/// How many names are told apart.
const NAMES: usize = Request::NAMES.len() + OTHERS.len();

/// The statuses that are told apart; any other counts as the last.
const STATUSES: usize = 24;

/// The statuses that there are; they count from the start, so that whoever reads the metrics sees their first increase.
const KNOWN: [u32; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22];

/// How often the limit of this name was reached.
pub(crate) fn limit(name: &'static str) -> Counter {
    counter!("messenger_limits_total", "limit" => name)
}

/// What the engine counts.
pub(crate) struct Meters {
    pub(crate) sessions: Gauge,
    pub(crate) accepted: ShardedCounter,
    pub(crate) delivered_total: ShardedCounter,
    /// Messages that were answered with success.
    pub(crate) sent: ShardedCounter,
    tallies: Tallies,
    delivery: Histogram,
    pub(crate) mailbox_overrun: Counter,
    pub(crate) max_outgoing: Counter,
    pub(crate) inbox_full: Counter,
    /// Messages for users who are offline that the embedder was not told of.
    pub(crate) offline_messages: Counter,
    /// Messages that were pushed out of an inbox, and not given to sessions that lag.
    pub(crate) dropped: Counter,
    requests: [[OnceLock<Counter>; STATUSES]; NAMES],
}

/// Where the tallies go.
struct Tallies {
    accepted: Counter,
    delivered_total: Counter,
    sent: Counter,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    pub(crate) fn new() -> Self {
        let meters = Self {
            sessions: gauge!("messenger_sessions"),
            accepted: ShardedCounter::default(),
            delivered_total: ShardedCounter::default(),
            sent: ShardedCounter::default(),
            tallies: Tallies {
                accepted: counter!("messenger_messages_accepted_total"),
                delivered_total: counter!("messenger_messages_delivered_total"),
                sent: answers(SendMessage::NAME, 0),
            },
            delivery: histogram!("messenger_delivery_seconds"),
            mailbox_overrun: limit("mailbox"),
            max_outgoing: limit("max_outgoing"),
            inbox_full: limit("inbox"),
            offline_messages: limit("offline_messages"),
            dropped: counter!("messenger_messages_dropped_total"),
            requests: Default::default(),
        };
        for action in Request::NAMES.iter().chain(&OTHERS) {
            for status in KNOWN {
                meters.requests(action, status);
            }
        }
        meters
    }

    /// Tells the recorder what was counted since the last time.
    pub(crate) fn publish(&self) {
        let Tallies {
            accepted,
            delivered_total,
            sent,
        } = &self.tallies;
        accepted.increment(self.accepted.take());
        delivered_total.increment(self.delivered_total.take());
        sent.increment(self.sent.take());
    }

    /// A request was answered.
    pub(crate) fn answered(&self, response: &Response) {
        if let Response::SendMessage(Ok(_)) = response {
            return self.sent.count();
        }
        let code = response.failure().map(|failure| failure.code);
        let status = code.map_or(0, ErrorCode::number);
        if let Some(requests) = self.requests(response.action(), status) {
            requests.increment(1);
        }
    }

    /// Requests for this action that were answered with this status.
    fn requests(&self, action: &str, status: u32) -> Option<&Counter> {
        let last = (NAMES - 1, STATUSES - 1);
        let mut names = Request::NAMES.iter().chain(&OTHERS);
        let row = names.position(|name| *name == action).unwrap_or(last.0);
        let column = usize::try_from(status).map_or(last.1, |status| status.min(last.1));
        let name = Request::NAMES.iter().chain(&OTHERS).nth(row)?;
        let cell = self.requests.get(row)?.get(column)?;
        Some(cell.get_or_init(|| answers(name, status)))
    }

    /// A live message was delivered so long after it was accepted.
    pub(crate) fn delivered(&self, after: Duration) {
        self.delivery.record(after.as_secs_f64());
    }
}

/// Answers to this action with this status.
fn answers(action: &'static str, status: u32) -> Counter {
    counter!("messenger_requests_total", "action" => action, "status" => status.to_string())
}

/// How long a call of the store takes.
pub(crate) fn store(call: &'static str) -> Histogram {
    histogram!("messenger_store_seconds", "call" => call)
}
