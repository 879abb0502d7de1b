//! What the server counts, through the `metrics` facade; see the engine's.

use crate::budget::BudgetMeters;
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the server counts.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) tcp_accepted: Counter,
    pub(crate) tls_accepted: Counter,
    #[cfg(feature = "websocket")]
    pub(crate) ws_accepted: Counter,
    #[cfg(feature = "websocket")]
    pub(crate) wss_accepted: Counter,
    pub(crate) max_connections: Counter,
    pub(crate) max_handshakes: Counter,
    pub(crate) handshake_timeout: Counter,
    handshakes_failed: Counter,
    /// As many.
    failed: AtomicU64,
    pub(crate) auth_timeout: Counter,
    pub(crate) max_frame: Counter,
    pub(crate) write_timeout: Counter,
}

/// Of the budget of frames that have not come whole.
pub(crate) fn partial_frames() -> BudgetMeters {
    BudgetMeters {
        held: gauge!("messenger_partial_frame_bytes"),
        evicted: limit("max_partial_frames"),
    }
}

/// Of the budget of what waits to be written.
pub(crate) fn outgoing() -> BudgetMeters {
    BudgetMeters {
        held: gauge!("messenger_outgoing_bytes"),
        evicted: limit("max_outgoing_total"),
    }
}

fn limit(name: &'static str) -> Counter {
    counter!("messenger_limits_total", "limit" => name)
}

impl Meters {
    pub(crate) fn new() -> Self {
        let accepted = |over: &'static str| counter!("messenger_connections_total", "over" => over);
        Self {
            connections: gauge!("messenger_connections"),
            tcp_accepted: accepted("tcp"),
            tls_accepted: accepted("tls"),
            #[cfg(feature = "websocket")]
            ws_accepted: accepted("ws"),
            #[cfg(feature = "websocket")]
            wss_accepted: accepted("wss"),
            max_connections: limit("max_connections"),
            max_handshakes: limit("max_handshakes"),
            handshake_timeout: limit("handshake_timeout"),
            handshakes_failed: counter!("messenger_handshakes_failed_total"),
            failed: AtomicU64::new(0),
            auth_timeout: limit("auth_timeout"),
            max_frame: limit("max_frame"),
            write_timeout: limit("write_timeout"),
        }
    }

    /// A handshake has failed; how many have.
    pub(crate) fn handshake_failed(&self) -> u64 {
        self.handshakes_failed.increment(1);
        self.failed.fetch_add(1, Ordering::Relaxed) + 1
    }
}
