//! Settings: flags, each with an environment variable.

mod errors;
mod legacy;
mod listening;
mod numbers;
mod stores;
mod upkeep;
pub(crate) mod url;

pub use errors::SettingsError;
pub use listening::{ListenSettings, MetricsListen};
pub use stores::{NotifierUrl, OtherNodes, StoreUrl};

use crate::Transport;
use clap::Parser;
use legacy::LegacySettings;
use messenger_core::Region;
use messenger_core::policy::{InboxLimits, Policy, Rate, Rates};
use messenger_proto::Braces;
use numbers::{ConnectionSettings, DAY, LifetimeSettings, LimitSettings, RateSettings};
use std::time::Duration;
use stores::DEFAULT_STORE;
use url::Url;

/// A messenger server: JSON objects over TCP or WebSocket.
///
/// Every flag can be given as an environment variable instead: MESSENGER_ and its name in capitals,
/// such as MESSENGER_LISTEN. Bytes may be given with a unit (16MiB, 16MB), long numbers as 60_000.
#[derive(Clone, Debug, Parser)]
#[command(name = "messenger-server", version, max_term_width = 100)]
pub struct Settings {
    /// Where clients and monitoring come in.
    #[command(flatten)]
    pub listening: ListenSettings,

    /// How the log is written, on standard error. RUST_LOG tells what is logged (default: info).
    #[arg(
        long,
        env = "MESSENGER_LOG_FORMAT",
        value_name = "text|json",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

    /// Where everything is kept: `sqlite:PATH`, in a file; `postgres://USER:PASSWORD@HOST/NAME`, in a database that several
    /// servers may share; `memory:`, until the process ends.
    #[arg(
        long,
        env = "MESSENGER_STORE",
        hide_env_values = true,
        value_parser = Url::<StoreUrl>::new(),
        default_value = DEFAULT_STORE,
        value_name = "URL",
        global = true
    )]
    pub store: StoreUrl,

    /// How connections learn of messages: `local:`, within the process; `nats://HOST,HOST`, also from other servers
    /// on the same store.
    #[arg(
        long,
        env = "MESSENGER_NOTIFIER",
        hide_env_values = true,
        value_parser = Url::<NotifierUrl>::new(),
        default_value = "local:",
        value_name = "URL",
        global = true
    )]
    pub notifier: NotifierUrl,

    /// Whether a sender gets its own copy of each message; deployed clients show what they sent only then.
    #[arg(
        long,
        env = "MESSENGER_ECHO",
        value_name = "on|off",
        default_value = "on",
        global = true
    )]
    pub echo: Switch,

    /// Whether to refuse a new login that looks like another user's, as with Cyrillic letters for Latin
    /// ones.
    #[arg(
        long,
        env = "MESSENGER_REFUSE_LOOKALIKES",
        value_name = "on|off",
        default_value = "off",
        global = true
    )]
    pub refuse_lookalikes: Switch,

    /// Whether to write `{` and `}` inside strings as \u007b and \u007d, for deployed clients that
    /// count braces.
    #[arg(
        long,
        env = "MESSENGER_ESCAPE_BRACES",
        value_name = "on|off",
        default_value = "on",
        global = true
    )]
    pub escape_braces: Switch,

    /// Where phone numbers without a country code are from, as a two-letter code.
    #[arg(long, env = "MESSENGER_DEFAULT_REGION", default_value_t = Region::default(), value_name = "COUNTRY", global = true)]
    pub default_region: Region,

    /// The greeting of every connection.
    #[arg(long, env = "MESSENGER_WELCOME", default_value_t = Policy::default().welcome, value_name = "TEXT", global = true)]
    pub welcome: String,

    /// Whether to lift the limits under "Rates", for load tests.
    #[arg(
        long,
        env = "MESSENGER_NO_RATE_LIMITS",
        value_name = "on|off",
        default_value = "off",
        default_missing_value = "on",
        num_args = 0..=1,
        require_equals = true,
        global = true
    )]
    pub no_rate_limits: Switch,

    /// Whether loopback addresses are exempt from what one address may do in a time.
    #[arg(
        long,
        env = "MESSENGER_EXEMPT_LOOPBACK",
        value_name = "on|off",
        default_value = "on",
        global = true
    )]
    pub exempt_loopback: Switch,

    /// What clients may do in a time.
    #[command(flatten)]
    pub rates: RateSettings,

    /// What serves deployed clients of earlier years.
    #[command(flatten)]
    pub legacy: LegacySettings,

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

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// `on`
    #[value(alias = "true")]
    On,
    /// `off`
    #[value(alias = "false")]
    Off,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Settings {
    /// The engine's limits and switches.
    pub fn policy(&self) -> Policy {
        let limits = &self.limits;
        let mut policy = Policy::default();
        policy.welcome = self.welcome.clone();
        policy.echo = self.echo == Switch::On;
        policy.refuse_lookalikes = self.refuse_lookalikes == Switch::On;
        self.legacy.apply_to_policy(&mut policy);
        policy.region = self.default_region;
        policy.session_lifetime = days(self.lifetimes.session_days);
        policy.message_lifetime = days(self.lifetimes.message_days);
        policy.limits.name = size(limits.max_name);
        policy.limits.pass = size(limits.max_pass);
        policy.limits.email = size(limits.max_email);
        policy.limits.phone = size(limits.max_phone);
        policy.limits.user_status = size(limits.max_user_status);
        policy.limits.picture = size(limits.max_picture);
        policy.limits.body = size(limits.max_body);
        policy.limits.mime = size(limits.max_mime);
        policy.limits.myid = size(limits.max_myid);
        policy.limits.contacts = size(limits.max_contacts);
        policy.limits.import_entries = size(limits.max_import);
        policy.limits.sessions = size(limits.max_sessions);
        policy.limits.inbox = InboxLimits::new(limits.max_inbox_messages, limits.max_inbox_bytes);
        policy.passwords.at_once = size(limits.max_hashing);
        policy.passwords.waiting = size(limits.max_hashing_queue);
        policy.rates = (self.no_rate_limits == Switch::Off).then(|| self.rates());
        policy
    }

    fn rates(&self) -> Rates {
        let given = &self.rates;
        let rate = |burst, seconds| Rate::new(count(burst), Duration::from_secs(seconds));
        let mut rates = Rates::default();
        rates.failed_auth_login = rate(given.max_failed_auth, 60);
        rates.failed_auth_address = rate(given.max_failed_auth_address, 60);
        rates.registrations = rate(given.max_registrations, 60 * 60);
        rates.messages = Rate::new(
            count(given.max_message_burst),
            Duration::from_secs(given.max_message_burst) / count(given.max_message_rate),
        );
        rates.message_bytes = Rate::new(
            count(given.max_byte_burst),
            Duration::from_secs(given.max_byte_burst) / count(given.max_byte_rate),
        );
        rates.import = rate(given.max_import_day, DAY);
        rates.exempt_loopback = self.exempt_loopback == Switch::On;
        rates
    }

    /// The bounds of connections.
    pub fn transport(&self) -> Transport {
        let connection = &self.connection;
        let mut transport = Transport::default();
        transport.driver.frame = size(connection.max_frame);
        transport.driver.frame_before_auth = size(connection.max_frame_before_auth);
        transport.driver.unsent = size(connection.max_outgoing);
        transport.partial_frames = size(connection.max_partial_frames);
        transport.outgoing = size(connection.max_outgoing_total);
        transport.connections = size(connection.max_connections);
        transport.handshake_time = Duration::from_secs(connection.handshake_timeout);
        transport.handshakes = size(connection.max_handshakes);
        transport.proxies = self.listening.proxy_from.clone();
        transport.time_to_auth = Duration::from_secs(connection.auth_timeout);
        transport.write_stall = Duration::from_secs(connection.write_timeout);
        transport.keepalive = Duration::from_secs(connection.keepalive);
        transport.drain = Duration::from_secs(connection.drain_timeout);
        transport.braces = match self.escape_braces {
            Switch::On => Braces::Escaped,
            Switch::Off => Braces::Plain,
        };
        self.legacy.apply_to_transport(&mut transport);
        transport
    }

    /// Whether what was given fits together.
    fn check_fit(&self) -> Result<(), SettingsError> {
        if !self.notifier.is_of(&self.store) {
            return Err(SettingsError::OwnStore);
        }
        if self.connection.max_frame_before_auth > self.connection.max_frame {
            return Err(SettingsError::FrameBeforeAuth);
        }
        if self.connection.max_partial_frames < self.connection.max_frame {
            return Err(SettingsError::PartialFrameBudget);
        }
        let list = self.policy().limits.list_bytes;
        if size(self.connection.max_outgoing_total) < list {
            return Err(SettingsError::OutgoingBudget { list });
        }
        Ok(())
    }
}

/// A number that is within what memory can hold.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY))
}
