//! What is known of the connection to NATS.

use async_nats::Event;
use metrics::Counter;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Health {
    /// Why there is no connection, or the last thing that was wrong with it.
    trouble: Mutex<Option<String>>,
    /// How often something may have been missed.
    gaps: AtomicU64,
    gaps_total: Counter,
    connects_total: Counter,
}

impl Health {
    /// Of a connection that is not there yet.
    pub(crate) fn new() -> Self {
        Self {
            trouble: Mutex::new(Some("not connected yet".to_owned())),
            gaps: AtomicU64::new(0),
            gaps_total: metrics::counter!("messenger_notifier_gaps_total"),
            connects_total: metrics::counter!("messenger_notifier_connects_total"),
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    pub(crate) fn count_gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        self.gaps_total.increment(1);
    }

    pub(crate) fn note(&self, event: &Event) {
        let trouble = match event {
            Event::SlowConsumer(_) => return self.count_gap(),
            Event::Connected => None,
            trouble => Some(trouble.to_string()),
        };
        if trouble.is_none() {
            self.connects_total.increment(1);
            self.count_gap();
        }
        let mut known = self.trouble.lock();
        // The same is told with every attempt to connect.
        if *known != trouble {
            match &trouble {
                // It is tried again for ever, so this is the notifier's own end.
                _ if matches!(event, Event::Closed) => {}
                Some(trouble) => tracing::warn!(trouble, "the connection to NATS is in trouble"),
                None => tracing::info!("connected to NATS"),
            }
            *known = trouble;
        }
    }
}
