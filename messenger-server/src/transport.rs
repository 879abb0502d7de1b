//! The bounds of a connection.

use messenger_proto::Braces;
use std::time::Duration;

/// The bounds of connections. The defaults are the protocol's.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// The longest frame of an authenticated client, in bytes. 16 MiB.
    pub frame: usize,
    /// The longest frame before that, in bytes. 16 KiB.
    pub frame_before_auth: usize,
    /// The most connections. 60,000.
    pub connections: usize,
    /// How long a client may take to authenticate. 5 minutes.
    pub time_to_auth: Duration,
    /// Unsent bytes from which on a client's requests are not read. 4 MiB.
    pub outgoing: usize,
    /// A client that takes nothing for so long, though something waits for it, is disconnected. 30 s.
    pub write_stall: Duration,
    /// How many `message` requests of a connection may be under way at once. 256.
    pub overlapping: usize,
    /// How many bytes their frames may have together; one frame may pass it. 4 MiB.
    pub overlapping_bytes: usize,
    /// How long connections may take to finish when the server stops. 10 s.
    pub drain: Duration,
    /// TCP keepalive. 60 s.
    pub keepalive: Duration,
    /// How braces in strings are written. Escaped.
    pub braces: Braces,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            frame: 16 * 1024 * 1024,
            frame_before_auth: 16 * 1024,
            connections: 60_000,
            time_to_auth: Duration::from_secs(5 * 60),
            outgoing: 4 * 1024 * 1024,
            write_stall: Duration::from_secs(30),
            overlapping: 256,
            overlapping_bytes: 4 * 1024 * 1024,
            drain: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            braces: Braces::default(),
        }
    }
}
