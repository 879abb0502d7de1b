//! Settings: flags, each with an environment variable.

use crate::Transport;
use clap::Parser;
use messenger_core::policy::{InboxLimits, Limits, PasswordPolicy, Policy};
use messenger_core::{Builder, Engine, Region};
use messenger_proto::Braces;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A messenger server: JSON objects over TCP.
///
/// Every flag can be given as an environment variable instead: MESSENGER_ and its name in capitals,
/// such as MESSENGER_LISTEN.
#[derive(Clone, Debug, Parser)]
#[command(name = "messenger-server", version, max_term_width = 100)]
pub struct Settings {
    /// The address and port to listen on.
    #[arg(long, env = "MESSENGER_LISTEN", default_value = "127.0.0.1:7788")]
    pub listen: SocketAddr,

    /// Where everything is kept: `sqlite:PATH`, in a file; `memory:`, until the process ends.
    #[arg(
        long,
        env = "MESSENGER_STORE",
        default_value = DEFAULT_STORE,
        value_name = "URL",
        global = true
    )]
    pub store: Store,

    /// How sessions learn of messages: `local:`, within the process.
    #[arg(
        long,
        env = "MESSENGER_NOTIFIER",
        default_value = "local:",
        value_name = "URL"
    )]
    pub notifier: Notifier,

    /// Whether a sender gets its own copy of each message; deployed clients show it only then.
    #[arg(
        long,
        env = "MESSENGER_ECHO",
        value_name = "on|off",
        default_value = "on"
    )]
    pub echo: Switch,

    /// Whether to authenticate a client that has registered, and send it the `auth` reply that an
    /// older generation of clients waits for.
    #[arg(
        long,
        env = "MESSENGER_AUTH_ON_REGISTER",
        value_name = "on|off",
        default_value = "off"
    )]
    pub auth_on_register: Switch,

    /// Whether to write `{` and `}` inside strings as \u007b and \u007d, for deployed clients that
    /// count braces.
    #[arg(
        long,
        env = "MESSENGER_ESCAPE_BRACES",
        value_name = "on|off",
        default_value = "on"
    )]
    pub escape_braces: Switch,

    /// Where phone numbers without a country code are from, as a two-letter code.
    #[arg(long, env = "MESSENGER_DEFAULT_REGION", default_value_t = Region::default(), value_name = "COUNTRY")]
    pub default_region: Region,

    /// The greeting of every connection.
    #[arg(long, env = "MESSENGER_WELCOME", default_value_t = Policy::default().welcome, value_name = "TEXT")]
    pub welcome: String,

    /// Lift the rate limits, for load tests. (This version has none to lift.)
    #[arg(long, env = "MESSENGER_NO_RATE_LIMITS")]
    pub no_rate_limits: bool,

    /// Bounds of connections.
    #[command(flatten)]
    pub connection: ConnectionSettings,

    /// Limits of what clients send and of what is kept for them.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// Lifetimes.
    #[command(flatten)]
    pub lifetimes: LifetimeSettings,
}

#[cfg(feature = "sqlite")]
const DEFAULT_STORE: &str = "sqlite:messenger.db";
#[cfg(not(feature = "sqlite"))]
const DEFAULT_STORE: &str = "memory:";

/// What numbers are sensible, by their unit.
const BYTES: RangeInclusive<u64> = 1..=1 << 40;
const FRAME: RangeInclusive<u64> = 256..=1 << 30;
const COUNT: RangeInclusive<u64> = 1..=1_000_000_000;
const SECONDS: RangeInclusive<u64> = 1..=366 * 24 * 60 * 60;
const DAYS: RangeInclusive<u64> = 1..=100 * 366;

macro_rules! numbers {
    ($(#[doc = $about:literal])* $heading:literal $name:ident { $($(#[$doc:meta])* $field:ident = $env:literal $unit:literal $range:expr, $default:expr;)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, clap::Args)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            $($(#[$doc])* #[arg(long, env = $env, value_name = $unit, default_value_t = $default as u64, value_parser = clap::value_parser!(u64).range($range))] pub $field: u64,)*
        }
    };
}

numbers! {
    /// Bounds of connections.
    "Connections" ConnectionSettings {
        /// The longest frame of an authenticated client.
        max_frame = "MESSENGER_MAX_FRAME" "BYTES" FRAME, Transport::default().frame;
        /// The longest frame before that.
        max_frame_before_auth = "MESSENGER_MAX_FRAME_BEFORE_AUTH" "BYTES" FRAME, Transport::default().frame_before_auth;
        /// The most connections.
        max_connections = "MESSENGER_MAX_CONNECTIONS" "COUNT" COUNT, Transport::default().connections;
        /// How long a client may take to authenticate.
        auth_timeout = "MESSENGER_AUTH_TIMEOUT" "SECONDS" SECONDS, Transport::default().time_to_auth.as_secs();
        /// Unsent bytes from which on a client's requests are not read.
        max_outgoing = "MESSENGER_MAX_OUTGOING" "BYTES" BYTES, Transport::default().outgoing;
        /// A client that takes nothing for so long, though something waits for it, is disconnected.
        write_timeout = "MESSENGER_WRITE_TIMEOUT" "SECONDS" SECONDS, Transport::default().write_stall.as_secs();
        /// TCP keepalive.
        keepalive = "MESSENGER_KEEPALIVE" "SECONDS" SECONDS, Transport::default().keepalive.as_secs();
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
        /// Passwords that are hashed at once.
        max_hashing = "MESSENGER_MAX_HASHING" "COUNT" COUNT, PasswordPolicy::default().at_once;
    }
}

numbers! {
    /// Lifetimes.
    "Lifetimes" LifetimeSettings {
        /// How long a session lives after its last use.
        session_days = "MESSENGER_SESSION_DAYS" "DAYS" DAYS, days_of(Policy::default().session_lifetime);
        /// How long a message is kept at the most.
        message_days = "MESSENGER_MESSAGE_DAYS" "DAYS" DAYS, days_of(Policy::default().message_lifetime);
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// `on`
    On,
    /// `off`
    Off,
}

/// A store, named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// `memory:`
    Memory,
    /// `sqlite:PATH` (feature `sqlite`)
    #[cfg(feature = "sqlite")]
    Sqlite(std::path::PathBuf),
}

/// A notifier, named by a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notifier {
    /// `local:`
    Local,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No store has this name.
    #[error("there is no such store in this program; use sqlite:PATH or memory:")]
    Store,
    /// What was asked for is of a store in a file, and this one is none.
    #[cfg(feature = "sqlite")]
    #[error("only a store in a file can be backed up; say which: --store sqlite:PATH")]
    NoFile,
    /// No notifier has this name.
    #[error("there is no such notifier; use local:")]
    Notifier,
    /// The store's file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Open(#[from] messenger_sqlite::OpenError),
    /// The store cannot be backed up.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Backup(#[from] messenger_sqlite::BackupError),
}

impl FromStr for Store {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            #[cfg(feature = "sqlite")]
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with(':') => {
                Ok(Self::Sqlite(path.into()))
            }
            _ => Err(SettingsError::Store),
        }
    }
}

impl FromStr for Notifier {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        match url {
            "local:" => Ok(Self::Local),
            _ => Err(SettingsError::Notifier),
        }
    }
}

impl Settings {
    /// The engine's limits and switches.
    pub fn policy(&self) -> Policy {
        let limits = &self.limits;
        Policy {
            welcome: self.welcome.clone(),
            echo: self.echo == Switch::On,
            auth_on_register: self.auth_on_register == Switch::On,
            region: self.default_region,
            session_lifetime: days(self.lifetimes.session_days),
            message_lifetime: days(self.lifetimes.message_days),
            limits: Limits {
                name: size(limits.max_name),
                pass: size(limits.max_pass),
                email: size(limits.max_email),
                phone: size(limits.max_phone),
                user_status: size(limits.max_user_status),
                picture: size(limits.max_picture),
                body: size(limits.max_body),
                mime: size(limits.max_mime),
                myid: size(limits.max_myid),
                contacts: size(limits.max_contacts),
                import_entries: size(limits.max_import),
                sessions: size(limits.max_sessions),
                inbox: InboxLimits {
                    messages: limits.max_inbox_messages,
                    bytes: limits.max_inbox_bytes,
                },
                ..Limits::default()
            },
            passwords: PasswordPolicy {
                at_once: size(limits.max_hashing),
                ..PasswordPolicy::default()
            },
            ..Policy::default()
        }
    }

    /// The bounds of connections.
    pub fn transport(&self) -> Transport {
        let connection = &self.connection;
        Transport {
            frame: size(connection.max_frame),
            frame_before_auth: size(connection.max_frame_before_auth),
            connections: size(connection.max_connections),
            time_to_auth: Duration::from_secs(connection.auth_timeout),
            outgoing: size(connection.max_outgoing),
            write_stall: Duration::from_secs(connection.write_timeout),
            keepalive: Duration::from_secs(connection.keepalive),
            drain: Duration::from_secs(connection.drain_timeout),
            braces: match self.escape_braces {
                Switch::On => Braces::Escaped,
                Switch::Off => Braces::Plain,
            },
            ..Transport::default()
        }
    }

    /// Copies the store to a new file, also while a server uses it.
    ///
    /// # Errors
    /// The store is not a file, or cannot be read, or the copy cannot be written.
    #[cfg(feature = "sqlite")]
    pub fn back_up(&self, to: &std::path::Path) -> Result<(), SettingsError> {
        match &self.store {
            Store::Sqlite(path) => Ok(messenger_sqlite::back_up(path, to)?),
            Store::Memory => Err(SettingsError::NoFile),
        }
    }

    /// An engine builder with the store and the notifier that were asked for.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn engine(&self) -> Result<Builder, SettingsError> {
        let builder = Engine::builder().policy(self.policy());
        let builder = match &self.store {
            // The builder's own.
            Store::Memory => builder,
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => {
                let storage = messenger_sqlite::SqliteStorage::open(path)?;
                builder.storage(std::sync::Arc::new(storage))
            }
        };
        Ok(match self.notifier {
            // The builder's own.
            Notifier::Local => builder,
        })
    }
}

/// A number that is within what memory can hold.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const DAY: u64 = 24 * 60 * 60;

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY))
}

fn days_of(duration: Duration) -> u64 {
    duration.as_secs() / DAY
}
