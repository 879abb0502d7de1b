//! Where NATS is, and how to get in.

use async_nats::ServerAddr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where NATS is, and how to get in.
///
/// Read from a URL: `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][?OPTION=VALUE&…]`, with `tls://` for servers
/// whose certificates are checked. The options:
///
/// - `prefix`: nodes with the same one hear each other; letters, digits, `-` and `_`. `messenger`.
/// - `credentials`: a file with a user's JWT and seed.
/// - `ca`: a PEM file with certificates of authorities to be trusted besides the usual ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    pub(crate) addresses: Vec<ServerAddr>,
    pub(crate) is_tls: bool,
    pub(crate) prefix: String,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) authorities: Option<PathBuf>,
}

/// Why a URL does not say where NATS is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// It begins with something else.
    #[error("the URL of NATS begins with nats:// or tls://")]
    Scheme,
    /// A host cannot be read.
    #[error("{host:?} is no address of a NATS server")]
    Host {
        /// The host, without user and password.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such option.
    #[error("NATS has no option {0:?}; there are prefix, credentials and ca")]
    Option(String),
    /// The prefix cannot be part of a subject.
    #[error("a prefix has letters, digits, - and _, up to 64 of them")]
    Prefix,
}

/// The most characters of a prefix.
const LONGEST_PREFIX: usize = 64;

impl FromStr for Servers {
    type Err = ServersError;

    fn from_str(url: &str) -> Result<Self, ServersError> {
        let (scheme, rest) = url.split_once("://").ok_or(ServersError::Scheme)?;
        if scheme != "nats" && scheme != "tls" {
            return Err(ServersError::Scheme);
        }
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.trim_end_matches('/');
        let (user, hosts) = match place.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), place),
        };
        let address = |host: &str| {
            let address = format!("{scheme}://{user}{host}").parse();
            address.map_err(|source| ServersError::Host {
                host: host.to_owned(),
                source,
            })
        };
        let mut servers = Self {
            addresses: hosts.split(',').map(address).collect::<Result<_, _>>()?,
            is_tls: scheme == "tls",
            prefix: "messenger".to_owned(),
            credentials: None,
            authorities: None,
        };
        for (option, value) in form_urlencoded::parse(options.as_bytes()) {
            servers.set(&option, &value)?;
        }
        Ok(servers)
    }
}

impl Servers {
    fn set(&mut self, option: &str, value: &str) -> Result<(), ServersError> {
        match option {
            "prefix" => {
                let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if value.is_empty() || value.len() > LONGEST_PREFIX || !value.chars().all(is_fine) {
                    return Err(ServersError::Prefix);
                }
                self.prefix = value.to_owned();
            }
            "credentials" => self.credentials = Some(value.into()),
            "ca" => self.authorities = Some(value.into()),
            other => return Err(ServersError::Option(other.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for Servers {
    /// The hosts, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.addresses.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", address.host(), address.port())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("addresses", &self.to_string())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
