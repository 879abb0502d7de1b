//! The bounds of a connection.

use ipnet::IpNet;
use messenger_core::DriverLimits;
use messenger_proto::{Braces, Escapes};
use std::time::Duration;

/// The bounds of connections. The defaults are the protocol's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transport {
    /// Frames, requests that overlap, and what may be unsent.
    pub driver: DriverLimits,
    /// The most bytes of partial frames (those that have not come whole) that all connections together hold; over it
    /// connections whose frames stand still are disconnected. 256 MiB.
    pub partial_frames: usize,
    /// The most bytes that wait to be written to all connections together; over it those that take least are
    /// disconnected, and imports wait. It is at least the room for one list
    /// ([`list_bytes`](messenger_core::policy::Limits::list_bytes)). 256 MiB.
    pub outgoing: usize,
    /// The most connections. Each is an open file; leave some of those that the system allows for the
    /// store and for monitoring. 60,000.
    pub connections: usize,
    /// How long a client may take to authenticate. 5 minutes.
    pub time_to_auth: Duration,
    /// How long a TLS handshake, a proxy's header and a request for a WebSocket may take together. 10 s.
    pub handshake_time: Duration,
    /// How many of these may be under way at once; more connections are turned away. 1,024.
    pub handshakes: usize,
    /// Connections from these networks begin with a header of the PROXY protocol, version 1 or 2, which
    /// tells where the client is. None.
    pub proxies: Vec<IpNet>,
    /// A client that takes nothing for so long, though something waits for it, is disconnected. 30 s.
    pub write_stall: Duration,
    /// How long connections may take to finish when the server stops. 10 s.
    pub drain: Duration,
    /// TCP keepalive. Over WebSocket a client that has been silent for so long, or for half of that, is pinged as well, and
    /// has [`write_stall`](Self::write_stall) to answer. 60 s.
    pub keepalive: Duration,
    /// How braces in strings are written. Escaped.
    pub braces: Braces,
    /// Nothing but ASCII is written, other characters as `\uXXXX`, for clients that cannot read a character which
    /// comes in two parts. Off.
    pub ascii_only: bool,
    /// Control characters in strings are read as they are, for clients that write line breaks so. Off.
    pub control_characters: bool,
    /// A client that has asked for no feature gets each frame in a write of its own, and so long behind the one before:
    /// some parse only the first frame of what a read brings. None.
    pub frame_gap: Option<Duration>,
}

impl Transport {
    /// What is escaped in strings.
    pub(crate) fn escapes(&self) -> Escapes {
        let mut escapes = Escapes::from(self.braces);
        escapes.ascii_only = self.ascii_only;
        escapes
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            driver: DriverLimits::default(),
            partial_frames: 256 * 1024 * 1024,
            outgoing: 256 * 1024 * 1024,
            connections: 60_000,
            time_to_auth: Duration::from_secs(5 * 60),
            handshake_time: Duration::from_secs(10),
            handshakes: 1024,
            proxies: Vec::new(),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            braces: Braces::default(),
            ascii_only: false,
            control_characters: false,
            frame_gap: None,
        }
    }
}
