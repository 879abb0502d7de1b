//! What the server counts, through the `metrics` facade; see the engine's.

use metrics::{Counter, Gauge, counter, gauge};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the server counts.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) tcp_accepted: Counter,
    pub(crate) tls_accepted: Counter,
    /// Bytes that wait to be written.
    pub(crate) outgoing: Gauge,
    partial_frames: Gauge,
    pub(crate) max_connections: Counter,
    pub(crate) max_handshakes: Counter,
    pub(crate) handshake_timeout: Counter,
    handshakes_failed: Counter,
    /// As many.
    failed: AtomicU64,
    pub(crate) auth_timeout: Counter,
    pub(crate) max_frame: Counter,
    pub(crate) write_timeout: Counter,
    pub(crate) partial_frames_evicted: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let limit = |name: &'static str| counter!("messenger_limits_total", "limit" => name);
        let accepted = |over: &'static str| counter!("messenger_connections_total", "over" => over);
        Self {
            connections: gauge!("messenger_connections"),
            tcp_accepted: accepted("tcp"),
            tls_accepted: accepted("tls"),
            outgoing: gauge!("messenger_outgoing_bytes"),
            partial_frames: gauge!("messenger_partial_frame_bytes"),
            max_connections: limit("max_connections"),
            max_handshakes: limit("max_handshakes"),
            handshake_timeout: limit("handshake_timeout"),
            handshakes_failed: counter!("messenger_handshakes_failed_total"),
            failed: AtomicU64::new(0),
            auth_timeout: limit("auth_timeout"),
            max_frame: limit("max_frame"),
            write_timeout: limit("write_timeout"),
            partial_frames_evicted: limit("max_partial_frames"),
        }
    }

    /// A handshake has failed; how many have.
    pub(crate) fn handshake_failed(&self) -> u64 {
        self.handshakes_failed.increment(1);
        self.failed.fetch_add(1, Ordering::Relaxed) + 1
    }

    #[expect(clippy::cast_precision_loss)] // a budget is far from 2^53
    pub(crate) fn set_partial_frames(&self, bytes: usize) {
        self.partial_frames.set(bytes as f64);
    }

    /// The bytes that wait on a connection have become more or fewer.
    #[expect(clippy::cast_precision_loss)] // as above
    pub(crate) fn note_outgoing(&self, before: usize, after: usize) {
        if after != before {
            self.outgoing.increment(after as f64 - before as f64);
        }
    }
}
