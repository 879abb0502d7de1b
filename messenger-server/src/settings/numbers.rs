//! Settings that are numbers: each a flag with its environment variable, unit, range and default.

use crate::Transport;
use bytesize::ByteSize;
use messenger_core::DriverLimits;
use messenger_core::Policy;
use messenger_core::policy::{InboxLimits, Limits, PasswordPolicy, Rates};
use messenger_core::storage::MemoryStorage;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What numbers are sensible, by their unit.
const BYTES: RangeInclusive<u64> = 1..=1 << 40;
const FREE: RangeInclusive<u64> = 0..=1 << 50;
/// Room for the log of what is written, and for an operator to do something about it.
const FREE_BY_DEFAULT: u64 = 256 * 1024 * 1024;
const FRAME: RangeInclusive<u64> = 256..=1 << 30;
const COUNT: RangeInclusive<u64> = 1..=1_000_000_000;
const RATE: RangeInclusive<u64> = 1..=1_000_000_000;
const SECONDS: RangeInclusive<u64> = 1..=366 * 24 * 60 * 60;
/// As many as the systems' calls take.
const BACKLOG: RangeInclusive<u64> = 1..=i32::MAX as u64;
/// As many as Linux allows unless told otherwise.
const BACKLOG_BY_DEFAULT: u32 = 4096;
/// As much as Linux takes.
const KEEPALIVE: RangeInclusive<u64> = 1..=32_767;
const DAYS: RangeInclusive<u64> = 1..=100 * 366;

/// The unit of numbers that may be given in another: `16MiB`, `16MB`.
pub(super) const BYTES_UNIT: &str = "BYTES";

/// Reads numbers within a range, also if they are written for people: `60_000`.
pub(super) fn number(
    unit: &'static str,
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let digits = text.replace('_', "");
        let number = match unit {
            BYTES_UNIT => digits.parse().ok().map(|ByteSize(bytes)| bytes),
            _ => digits.parse().ok(),
        };
        let (least, most) = (range.start(), range.end());
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| match unit {
            BYTES_UNIT => format!(
                "give a number of bytes from {least} to {most}, such as 4096, 16MiB (1024*1024 each) or 16MB (1000*1000 each)"
            ),
            _ => format!("give a whole number from {least} to {most}"),
        })
    }
}

macro_rules! numbers {
    ($(#[doc = $about:literal])* $heading:literal $name:ident { $($(#[$doc:meta])* $field:ident = $env:literal $unit:literal $range:expr, $default:expr;)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, clap::Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            $($(#[$doc])* #[arg(long, env = $env, global = true, value_name = $unit, default_value_t = $default as u64, value_parser = number($unit, $range))] pub $field: u64,)*
        }
    };
}

numbers! {
    /// Bounds of connections.
    "Connections" ConnectionSettings {
        /// The longest frame of an authenticated client.
        max_frame = "MESSENGER_MAX_FRAME" "BYTES" FRAME, DriverLimits::default().frame;
        /// The longest frame of a client that has not authenticated.
        max_frame_before_auth = "MESSENGER_MAX_FRAME_BEFORE_AUTH" "BYTES" FRAME, DriverLimits::default().frame_before_auth;
        /// The most bytes that all connections together hold of partial frames, those that have not come whole.
        max_partial_frames = "MESSENGER_MAX_PARTIAL_FRAMES" "BYTES" BYTES, Transport::default().partial_frames;
        /// The most connections; fewer when the system allows fewer open files.
        max_connections = "MESSENGER_MAX_CONNECTIONS" "COUNT" COUNT, Transport::default().connections;
        /// Connections that may wait to be accepted, for each address that is listened on.
        listen_backlog = "MESSENGER_LISTEN_BACKLOG" "COUNT" BACKLOG, BACKLOG_BY_DEFAULT;
        /// How long a client may take to authenticate.
        auth_timeout = "MESSENGER_AUTH_TIMEOUT" "SECONDS" SECONDS, Transport::default().time_to_auth.as_secs();
        /// How long a TLS handshake, a proxy's header and a request for a WebSocket may take together.
        handshake_timeout = "MESSENGER_HANDSHAKE_TIMEOUT" "SECONDS" SECONDS, Transport::default().handshake_time.as_secs();
        /// How many TLS handshakes and proxies' headers may be under way at once; more connections are turned away.
        max_handshakes = "MESSENGER_MAX_HANDSHAKES" "COUNT" COUNT, Transport::default().handshakes;
        /// While so many bytes wait for a client, its requests are not read.
        max_outgoing = "MESSENGER_MAX_OUTGOING" "BYTES" BYTES, DriverLimits::default().unsent;
        /// The most bytes that wait to be written to all connections together: those that take least give way.
        max_outgoing_total = "MESSENGER_MAX_OUTGOING_TOTAL" "BYTES" BYTES, Transport::default().outgoing;
        /// A client that takes nothing for so long, though something waits for it, is disconnected.
        write_timeout = "MESSENGER_WRITE_TIMEOUT" "SECONDS" SECONDS, Transport::default().write_stall.as_secs();
        /// How long a connection may be silent before TCP keepalive probes it, and a client over WebSocket is pinged at the
        /// latest.
        keepalive = "MESSENGER_KEEPALIVE" "SECONDS" KEEPALIVE, Transport::default().keepalive.as_secs();
        /// How long connections may take to finish when the server stops.
        drain_timeout = "MESSENGER_DRAIN_TIMEOUT" "SECONDS" SECONDS, Transport::default().drain.as_secs();
    }
}

numbers! {
    /// Limits of what clients send and of what is kept for them.
    "Limits" LimitSettings {
        /// The longest login and nick.
        max_name = "MESSENGER_MAX_NAME" "CHARACTERS" COUNT, Limits::default().name;
        /// The longest password.
        max_pass = "MESSENGER_MAX_PASS" "BYTES" BYTES, Limits::default().pass;
        /// The longest email address.
        max_email = "MESSENGER_MAX_EMAIL" "CHARACTERS" COUNT, Limits::default().email;
        /// The longest phone number.
        max_phone = "MESSENGER_MAX_PHONE" "CHARACTERS" COUNT, Limits::default().phone;
        /// The longest user_status.
        max_user_status = "MESSENGER_MAX_USER_STATUS" "CHARACTERS" COUNT, Limits::default().user_status;
        /// The largest picture.
        max_picture = "MESSENGER_MAX_PICTURE" "BYTES" BYTES, Limits::default().picture;
        /// The longest message body.
        max_body = "MESSENGER_MAX_BODY" "BYTES" BYTES, Limits::default().body;
        /// The longest MIME type of an attachment.
        max_mime = "MESSENGER_MAX_MIME" "CHARACTERS" COUNT, Limits::default().mime;
        /// The longest myid of an address-book entry.
        max_myid = "MESSENGER_MAX_MYID" "CHARACTERS" COUNT, Limits::default().myid;
        /// The most contacts of a user.
        max_contacts = "MESSENGER_MAX_CONTACTS" "COUNT" COUNT, Limits::default().contacts;
        /// The most entries of an import.
        max_import = "MESSENGER_MAX_IMPORT" "COUNT" COUNT, Limits::default().import_entries;
        /// The most sessions of a user; one more ends the least recently used.
        max_sessions = "MESSENGER_MAX_SESSIONS" "COUNT" COUNT, Limits::default().sessions;
        /// The most messages an inbox holds.
        max_inbox_messages = "MESSENGER_MAX_INBOX_MESSAGES" "COUNT" COUNT, InboxLimits::default().messages;
        /// The most bytes of bodies and attachments an inbox holds.
        max_inbox_bytes = "MESSENGER_MAX_INBOX_BYTES" "BYTES" BYTES, InboxLimits::default().bytes;
        /// The most bytes of messages that a store in memory (--store memory:) keeps, of all users together; over
        /// it messages are refused (status 22).
        max_memory = "MESSENGER_MAX_MEMORY" "BYTES" BYTES, MemoryStorage::DEFAULT_LIMIT;
        /// The free bytes of its disk below which a store in a file refuses messages (status 22); 0 to fill the disk.
        min_free_disk = "MESSENGER_MIN_FREE_DISK" "BYTES" FREE, FREE_BY_DEFAULT;
        /// Passwords that are hashed at once.
        max_hashing = "MESSENGER_MAX_HASHING" "COUNT" COUNT, PasswordPolicy::default().at_once;
        /// Passwords that may wait to be hashed; over it clients are told to try later (status 20).
        max_hashing_queue = "MESSENGER_MAX_HASHING_QUEUE" "COUNT" COUNT, PasswordPolicy::default().waiting;
    }
}

numbers! {
    /// What clients may do in a time; over it they are told to try later (20).
    "Rates" RateSettings {
        /// Failed attempts to authenticate with one login, a minute; servers on one database count together.
        max_failed_auth = "MESSENGER_MAX_FAILED_AUTH" "COUNT" RATE, Rates::default().failed_auth_login.burst;
        /// Failed attempts to authenticate from one address, a minute, at one server.
        max_failed_auth_address = "MESSENGER_MAX_FAILED_AUTH_ADDRESS" "COUNT" RATE, Rates::default().failed_auth_address.burst;
        /// Registrations from one address, an hour, at one server.
        max_registrations = "MESSENGER_MAX_REGISTRATIONS" "COUNT" RATE, Rates::default().registrations.burst;
        /// Messages of one session, a second.
        max_message_rate = "MESSENGER_MAX_MESSAGE_RATE" "COUNT" RATE, MESSAGES_A_SECOND;
        /// Messages of one session at once.
        max_message_burst = "MESSENGER_MAX_MESSAGE_BURST" "COUNT" RATE, Rates::default().messages.burst;
        /// Bytes of one session's messages, a second.
        max_byte_rate = "MESSENGER_MAX_BYTE_RATE" "BYTES" RATE, BYTES_A_SECOND;
        /// Bytes of one session's messages at once; a larger message is accepted when none of them is used, and uses all.
        max_byte_burst = "MESSENGER_MAX_BYTE_BURST" "BYTES" RATE, Rates::default().message_bytes.burst;
        /// Address-book entries that one user imports, a day; servers on one database count together.
        max_import_day = "MESSENGER_MAX_IMPORT_DAY" "COUNT" RATE, Rates::default().import.burst;
    }
}

/// See [`Rates::messages`].
const MESSAGES_A_SECOND: u64 = 100;

/// See [`Rates::message_bytes`].
const BYTES_A_SECOND: u64 = 1024 * 1024;

numbers! {
    /// Lifetimes.
    "Lifetimes" LifetimeSettings {
        /// How long a session lives after its last use.
        session_days = "MESSENGER_SESSION_DAYS" "DAYS" DAYS, days_of(Policy::default().session_lifetime);
        /// How long a message is kept at the most.
        message_days = "MESSENGER_MESSAGE_DAYS" "DAYS" DAYS, days_of(Policy::default().message_lifetime);
    }
}

/// Seconds.
pub(super) const DAY: u64 = 24 * 60 * 60;

fn days_of(duration: Duration) -> u64 {
    duration.as_secs() / DAY
}
