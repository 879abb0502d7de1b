//! Settings: flags, each with an environment variable.

mod legacy;
mod numbers;

use crate::{Tls, TlsError, Transport};
use clap::Parser;
use ipnet::IpNet;
use legacy::LegacySettings;
use messenger_core::policy::{InboxLimits, Policy, Rate, Rates};
use messenger_core::storage::MemoryStorage;
use messenger_core::{Builder, Engine, Region};
use messenger_proto::Braces;
use numbers::{ConnectionSettings, DAY, LifetimeSettings, LimitSettings, RateSettings};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A messenger server: JSON objects over TCP.
///
/// Every flag can be given as an environment variable instead: MESSENGER_ and its name in capitals,
/// such as MESSENGER_LISTEN. Bytes may be given with a unit (16MiB, 16MB), long numbers as 60_000.
#[derive(Clone, Debug, Parser)]
#[command(name = "messenger-server", version, max_term_width = 100)]
pub struct Settings {
    /// The address and port to listen on, unless a service manager passes a socket.
    #[arg(
        long,
        env = "MESSENGER_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:7788",
        value_parser = listen_address,
        global = true
    )]
    pub listen: SocketAddr,

    /// The address and port to listen on for TLS; needs --tls-cert and --tls-key.
    #[arg(
        long,
        env = "MESSENGER_TLS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address,
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
    pub store: StoreUrl,

    /// How connections learn of messages: `local:`, within the process.
    #[arg(
        long,
        env = "MESSENGER_NOTIFIER",
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

#[cfg(feature = "sqlite")]
const DEFAULT_STORE: &str = "sqlite:messenger.db";
#[cfg(not(feature = "sqlite"))]
const DEFAULT_STORE: &str = "memory:";

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
pub enum StoreUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH` (feature `sqlite`)
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
}

/// A notifier, named by a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifierUrl {
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
    /// There is nothing at the store's path.
    #[error(
        "there is no store at {}; say where it is (--store sqlite:PATH), or start a server, which makes one",
        path.display()
    )]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An address for TLS without a certificate, or the other way round.
    #[error("--tls-listen, --tls-cert and --tls-key belong together; give all three or none")]
    HalfTls,
    /// It is no address to listen on.
    #[error(
        "give an address and a port, such as 127.0.0.1:7788, [::1]:7788, localhost:7788, or 0.0.0.0:7788 for all addresses"
    )]
    Address,
    /// It is no network of proxies.
    #[error("give networks or addresses, such as 10.0.0.0/8,192.0.2.1")]
    Network,
    /// Whoever authenticates could send less than before.
    #[error("--max-frame-before-auth must not be above --max-frame, which holds afterwards")]
    FrameBeforeAuth,
    /// One frame would not fit into the budget of all.
    #[error(
        "--max-partial-frames must be at least --max-frame, or no large frame could be received"
    )]
    PartialFrameBudget,
    /// One list would not fit into what may wait to be written.
    #[error(
        "--max-outgoing-total must be at least {list} bytes, or no long list of users could be sent"
    )]
    OutgoingBudget {
        /// The most bytes of a list.
        list: usize,
    },
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
    /// Nothing of the store can be saved.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Salvage(#[from] messenger_sqlite::SalvageError),
}

impl FromStr for StoreUrl {
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
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "off" => Ok(Self::Off),
            address => listen_address(address).map(Self::At),
        }
    }
}

/// An address and a port. A name stands for its first address, of version 4 if it has one.
fn listen_address(text: &str) -> Result<SocketAddr, SettingsError> {
    let addresses = text.to_socket_addrs().ok();
    let addresses = addresses.map(|addresses| addresses.min_by_key(SocketAddr::is_ipv6));
    addresses.flatten().ok_or(SettingsError::Address)
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, SettingsError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse().map_err(|_| SettingsError::Network),
    }
}

impl FromStr for NotifierUrl {
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
        transport.proxies = self.proxy_from.clone();
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

    /// Whether a server would serve with these settings what was stored: the store is there and sound, and so is the
    /// certificate.
    ///
    /// # Errors
    /// It would not.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_numbers()?;
        self.tls()?;
        match &self.store {
            StoreUrl::Memory => {}
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => messenger_sqlite::check(path)?,
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), SettingsError> {
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

    /// Where the store is, for whoever reads it.
    ///
    /// # Errors
    /// The store is not a file, or there is none yet.
    pub fn existing_store(&self) -> Result<&Path, SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NoFile),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) if path.try_exists().is_ok_and(|exists| !exists) => {
                let path = path.clone();
                Err(SettingsError::NoStore { path })
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Ok(path),
        }
    }

    /// An engine for an operator's calls, on a store that a server may be using meanwhile.
    ///
    /// # Errors
    /// The store is not a file, is not there, or cannot be opened.
    pub fn engine_beside(&self) -> Result<Builder, SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => {
                let path = self.existing_store()?;
                let storage = messenger_sqlite::SqliteStorage::open_beside(path)?;
                let builder = Engine::builder().policy(self.policy());
                let builder = builder.storage(Arc::new(storage));
                Ok(builder.manual_maintenance())
            }
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Copies the store to a new file, also while a server uses it.
    ///
    /// # Errors
    /// The store is not a file, is not there, or cannot be read; or the copy cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to copy
    pub fn back_up(&self, to: &Path) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => Ok(messenger_sqlite::back_up(self.existing_store()?, to)?),
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Saves what can be read of a damaged store to a new file; a table of how much that was.
    ///
    /// # Errors
    /// The store is not a file, is not there, or nothing can be read of it; or the new file cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to save
    pub fn salvage(&self, to: &Path) -> Result<String, SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => {
                Ok(messenger_sqlite::salvage(self.existing_store()?, to)?.to_string())
            }
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Says that the store is an older copy of one that was lost.
    ///
    /// # Errors
    /// The store is not a file, is not there, cannot be opened, or a server uses it.
    pub fn mark_restored(&self) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => Ok(messenger_sqlite::mark_restored(self.existing_store()?)?),
            StoreUrl::Memory => Err(SettingsError::NoFile),
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
            StoreUrl::Memory => {
                let storage = MemoryStorage::with_limit(self.limits.max_memory);
                builder.storage(Arc::new(storage))
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                let storage = messenger_sqlite::SqliteStorage::open(path)?;
                storage.keep_free(self.limits.min_free_disk);
                builder.storage(Arc::new(storage))
            }
        };
        Ok(match self.notifier {
            // The builder's own.
            NotifierUrl::Local => builder,
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
