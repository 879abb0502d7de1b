//! Settings: flags, each with an environment variable.

mod numbers;

use crate::{Tls, TlsError, Transport};
use clap::Parser;
use ipnet::IpNet;
use messenger_core::policy::{InboxLimits, Policy, Rate, Rates};
use messenger_core::{Builder, Engine, Region};
use messenger_proto::Braces;
use numbers::{ConnectionSettings, DAY, LifetimeSettings, LimitSettings, RateSettings};
use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
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
    #[arg(
        long,
        env = "MESSENGER_LISTEN",
        default_value = "127.0.0.1:7788",
        global = true
    )]
    pub listen: SocketAddr,

    /// The address and port to listen on for TLS; needs --tls-cert and --tls-key.
    #[arg(
        long,
        env = "MESSENGER_TLS_LISTEN",
        value_name = "ADDRESS:PORT",
        global = true
    )]
    pub tls_listen: Option<SocketAddr>,

    /// The certificate chain of TLS, the server's own first, as PEM. It is read again when it changes,
    /// and on SIGHUP.
    #[arg(long, env = "MESSENGER_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate, as PEM.
    #[arg(long, env = "MESSENGER_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Networks of proxies, such as 10.0.0.0/8,192.0.2.1: connections from there begin with a header
    /// of the PROXY protocol (version 1 or 2) that tells where the client is.
    #[arg(
        long,
        env = "MESSENGER_PROXY_FROM",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = network,
        global = true
    )]
    pub proxy_from: Vec<IpNet>,

    /// The address and port of metrics for Prometheus (/metrics), /healthz and /readyz, or `off`.
    /// [default: 127.0.0.1:7789, if that is free]
    #[arg(
        long,
        env = "MESSENGER_METRICS_LISTEN",
        value_name = "ADDRESS:PORT|off",
        global = true
    )]
    pub metrics_listen: Option<MetricsListen>,

    /// How the log is written, on standard error. RUST_LOG tells what is logged (default: info).
    #[arg(
        long,
        env = "MESSENGER_LOG_FORMAT",
        value_name = "text|json",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

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
        value_name = "URL",
        global = true
    )]
    pub notifier: Notifier,

    /// Whether a sender gets its own copy of each message; deployed clients show it only then.
    #[arg(
        long,
        env = "MESSENGER_ECHO",
        value_name = "on|off",
        default_value = "on",
        global = true
    )]
    pub echo: Switch,

    /// Whether to authenticate a client that has registered, and send it the `auth` reply that an
    /// older generation of clients waits for.
    #[arg(
        long,
        env = "MESSENGER_AUTH_ON_REGISTER",
        value_name = "on|off",
        default_value = "off",
        global = true
    )]
    pub auth_on_register: Switch,

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

    /// Lift the rate limits, for load tests.
    #[arg(long, env = "MESSENGER_NO_RATE_LIMITS", global = true)]
    pub no_rate_limits: bool,

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

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// `on`
    On,
    /// `off`
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

/// Where metrics are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// At this address and port.
    At(SocketAddr),
}

/// A store, named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// `memory:`
    Memory,
    /// `sqlite:PATH` (feature `sqlite`)
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
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
    #[error("this needs a store in a file; say which: --store sqlite:PATH")]
    NoFile,
    /// An address for TLS without a certificate, or the other way round.
    #[error("--tls-listen, --tls-cert and --tls-key belong together; give all three or none")]
    HalfTls,
    /// One frame would not fit into the budget of all.
    #[error(
        "--max-partial-frames must be at least --max-frame, or no large frame could be received"
    )]
    PartialFrameBudget,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No notifier has this name.
    #[error("there is no such notifier; use local:")]
    Notifier,
    /// The store's file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Open(#[from] messenger_sqlite::OpenError),
    /// The store is not sound.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Check(#[from] messenger_sqlite::CheckError),
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

impl FromStr for MetricsListen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At),
        }
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, ipnet::AddrParseError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse(),
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
        let mut policy = Policy::default();
        policy.welcome = self.welcome.clone();
        policy.echo = self.echo == Switch::On;
        policy.auth_on_register = self.auth_on_register == Switch::On;
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
        policy.rates = (!self.no_rate_limits).then(|| self.rates());
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
        transport.connections = size(connection.max_connections);
        transport.handshake_time = Duration::from_secs(connection.handshake_timeout);
        transport.handshakes = size(connection.max_handshakes);
        transport.proxies = self.proxy_from.clone();
        transport.time_to_auth = Duration::from_secs(connection.auth_timeout);
        transport.write_stall = Duration::from_secs(connection.write_timeout);
        transport.keepalive = Duration::from_secs(connection.keepalive);
        transport.drain = Duration::from_secs(connection.drain_timeout);
        transport.braces = match self.escape_braces {
            Switch::On => Braces::Escaped,
            Switch::Off => Braces::Plain,
        };
        transport
    }

    /// Where to listen for TLS, and with which certificate; `None` when it was not asked for.
    ///
    /// # Errors
    /// Something of it is missing, or the certificate cannot be used.
    pub fn tls(&self) -> Result<Option<(SocketAddr, Tls)>, SettingsError> {
        match (self.tls_listen, &self.tls_cert, &self.tls_key) {
            (None, None, None) => Ok(None),
            (Some(address), Some(certificates), Some(key)) => {
                Ok(Some((address, Tls::load(certificates, key)?)))
            }
            _ => Err(SettingsError::HalfTls),
        }
    }

    /// Whether a server could be started with these settings: the store is sound, if there is one
    /// already, and so is the certificate.
    ///
    /// # Errors
    /// It could not.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_numbers()?;
        self.tls()?;
        match &self.store {
            Store::Memory => {}
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) if !path.exists() => {}
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => messenger_sqlite::check(path)?,
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), SettingsError> {
        if self.connection.max_partial_frames < self.connection.max_frame {
            return Err(SettingsError::PartialFrameBudget);
        }
        Ok(())
    }

    /// An engine for an operator's calls, on a store that a server may be using meanwhile.
    ///
    /// # Errors
    /// The store is not a file, or cannot be opened.
    pub fn engine_beside(&self) -> Result<Builder, SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => {
                let storage = messenger_sqlite::SqliteStorage::open_beside(path)?;
                let builder = Engine::builder().policy(self.policy());
                let builder = builder.storage(std::sync::Arc::new(storage));
                Ok(builder.manual_maintenance())
            }
            Store::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Copies the store to a new file, also while a server uses it.
    ///
    /// # Errors
    /// The store is not a file, or cannot be read, or the copy cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to copy
    pub fn back_up(&self, to: &Path) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => Ok(messenger_sqlite::back_up(path, to)?),
            Store::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Says that the store is an older copy of one that was lost.
    ///
    /// # Errors
    /// The store is not a file, cannot be opened, or a server uses it.
    pub fn mark_restored(&self) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            Store::Sqlite(path) => Ok(messenger_sqlite::mark_restored(path)?),
            Store::Memory => Err(SettingsError::NoFile),
        }
    }

    /// An engine builder with the store and the notifier that were asked for.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn engine(&self) -> Result<Builder, SettingsError> {
        self.check_numbers()?;
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

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(DAY))
}
