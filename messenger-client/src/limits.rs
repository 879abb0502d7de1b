//! Every bound and every time of a [`Session`](crate::Session).

use std::time::Duration;

/// How many messages may wait in an outbox.
pub const OUTBOX_MESSAGES: usize = 1_000;

/// How many bytes the messages in an outbox may have, as frames.
pub const OUTBOX_BYTES: usize = 64 * 1024 * 1024;

/// How many bytes a message may have, as a frame: a server takes no longer one.
pub const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// How many messages may be on their way at once, each to another recipient.
pub(crate) const ON_THEIR_WAY: usize = 64;

/// How many events wait for the application beside those of the connection.
pub(crate) const EVENTS_WAITING: usize = 16;

/// Of how many own copies is remembered that they were given to the application.
pub(crate) const COPIES_REMEMBERED: usize = 1_024;

/// How long it may take to connect and to log in.
pub(crate) const TIME_TO_LOG_IN: Duration = Duration::from_secs(60);

/// When nothing has moved on a connection for so long, the server is asked for a sign of life; when nothing moves for as long
/// again, the connection is given up.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// How long to wait before connecting again, at first. It doubles with each failure.
pub(crate) const FIRST_DELAY: Duration = Duration::from_millis(500);

/// How long to wait at most (and up to as long again by chance, so that clients do not come all at once).
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A connection that has lasted so long makes the next wait short again.
pub(crate) const STEADY: Duration = Duration::from_secs(10);
