//! The bounds of a connection.

use ipnet::IpNet;
use messenger_proto::Braces;
use std::time::Duration;

/// The bounds of connections. The defaults are the protocol's.
#[derive(Clone, Debug)]
pub struct Transport {
    /// The longest frame of an authenticated client, in bytes. 16 MiB.
    pub frame: usize,
    /// The longest frame before that, in bytes. 16 KiB.
    pub frame_before_auth: usize,
    /// The most bytes that all connections together hold of frames that have not come whole; over it
    /// those that stand still are disconnected. 256 MiB.
    pub half_read: usize,
    /// The most connections. Each is an open file; leave some of those that the system allows for the
    /// store and for monitoring. 60,000.
    pub connections: usize,
    /// How long a client may take to authenticate. 5 minutes.
    pub time_to_auth: Duration,
    /// How long a TLS handshake, or a proxy's header, may take. 10 s.
    pub handshake_time: Duration,
    /// How many of these may be under way at once; more connections are turned away. 1,024.
    pub handshakes: usize,
    /// Connections from these networks begin with a header of the PROXY protocol, version 1 or 2, which
    /// tells where the client is. None.
    pub proxies: Vec<IpNet>,
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
            half_read: 256 * 1024 * 1024,
            connections: 60_000,
            time_to_auth: Duration::from_secs(5 * 60),
            handshake_time: Duration::from_secs(10),
            handshakes: 1024,
            proxies: Vec::new(),
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
