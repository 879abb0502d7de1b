//! Which database, and how to get in.

use crate::error::ConnectError;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Which database, and how to get in.
///
/// Read from a URL: `postgres://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/NAME[?OPTION=VALUE&…]`. Of several hosts the
/// one is used that can be written to. A host that begins with `/` (`%2F`) is the folder of a socket. What has another
/// meaning in a URL is percent-encoded. Beside the usual options there are:
///
/// - `sslmode`: `require` (or `verify-full`, which is the same here) encrypts connections, and checks the server's
///   certificate and name; `disable` does neither. Unless it is given, connections to sockets and loopback addresses are
///   not encrypted, and those to any other host are.
/// - `sslrootcert`: a PEM file with certificates of authorities to be trusted instead of the system's.
///
/// `Debug` and `Display` show the hosts alone; an error shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    /// One for each host.
    pub(crate) servers: Vec<Config>,
    /// Where the authorities are that are trusted; `None` when connections are not encrypted.
    pub(crate) trusted: Option<Trusted>,
}

/// Which authorities are trusted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Trusted {
    System,
    File(PathBuf),
}

impl FromStr for Database {
    type Err = ConnectError;

    fn from_str(url: &str) -> Result<Self, ConnectError> {
        let (place, options) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, place) = place.split_once("://").unwrap_or(("", place));
        if scheme != "postgres" && scheme != "postgresql" {
            return Err(ConnectError::Url("it begins with postgres://".into()));
        }
        let options = Options::read(options)?;
        let (authority, name) = place.split_once('/').unwrap_or((place, ""));
        let (user, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let server = |host: &str| {
            let others = &options.others;
            config(&format!("postgres://{user}{host}/{name}?{others}"))
        };
        let servers = hosts.split(',').map(server);
        let mut servers: Vec<Config> = servers.collect::<Result<_, _>>()?;
        let are_here = servers.iter().flat_map(Config::get_hosts).all(is_here);
        let is_encrypted = options.is_encrypted.unwrap_or(!are_here);
        for server in &mut servers {
            server.ssl_mode(match is_encrypted {
                true => SslMode::Require,
                false => SslMode::Disable,
            });
        }
        let trusted = options.authorities.map_or(Trusted::System, Trusted::File);
        Ok(Self {
            servers,
            trusted: is_encrypted.then_some(trusted),
        })
    }
}

/// What stands behind the `?`.
#[derive(Default)]
struct Options {
    is_encrypted: Option<bool>,
    authorities: Option<PathBuf>,
    /// Those that the client knows.
    others: String,
}

impl Options {
    fn read(text: &str) -> Result<Self, ConnectError> {
        let mut options = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "sslmode" => options.is_encrypted = Some(encrypts(value)?),
                "sslrootcert" => options.authorities = Some(path(value)?),
                name if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                    options.others = format!("{}{option}&", options.others);
                }
                // It may be a part of a password.
                _ => return Err(ConnectError::Url("an option has no name".into())),
            }
        }
        Ok(options)
    }
}

fn encrypts(mode: &str) -> Result<bool, ConnectError> {
    match mode {
        "require" | "verify-full" => Ok(true),
        "disable" => Ok(false),
        _ => Err(ConnectError::Url(
            "sslmode is require, verify-full or disable".into(),
        )),
    }
}

fn path(encoded: &str) -> Result<PathBuf, ConnectError> {
    let path = percent_encoding::percent_decode_str(encoded).decode_utf8();
    let path = path.map_err(|error| ConnectError::Url(error.into()))?;
    Ok(PathBuf::from(path.into_owned()))
}

/// Nobody listens on the way to it.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    }
}

/// How the server of this URL is connected to.
fn config(url: &str) -> Result<Config, ConnectError> {
    let config = url.parse();
    let mut config: Config =
        config.map_err(|error: tokio_postgres::Error| ConnectError::Url(error.into()))?;
    // A connection that nobody answers on is given up before the calls on it are.
    config
        .connect_timeout(Duration::from_secs(2))
        .tcp_user_timeout(Duration::from_secs(3))
        .keepalives_idle(Duration::from_secs(2))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(3)
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_application_name().is_none() {
        config.application_name("messenger");
    }
    Ok(config)
}

impl fmt::Display for Database {
    /// The hosts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, server) in self.servers.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let port = server.get_ports().first().unwrap_or(&5432);
            match server.get_hosts().first() {
                Some(Host::Tcp(name)) => write!(f, "{comma}{name}:{port}")?,
                Some(Host::Unix(folder)) => write!(f, "{comma}{}", folder.display())?,
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("hosts", &self.to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Database, ConnectError> {
        url.parse()
    }

    #[test]
    fn a_url_says_where_the_database_is_and_how_to_get_in() {
        let database = read(
            "postgres://ann:p%40ss@one.example,[2001:db8::1]:5000/chat?sslrootcert=%2Fa%20b.pem&application_name=x",
        )
        .unwrap();
        assert_eq!(database.to_string(), "one.example:5432,2001:db8::1:5000");
        let shown = format!("{database:?}");
        assert!(!shown.contains("p@ss") && !shown.contains("ann"), "{shown}");
        let [one, two] = &database.servers[..] else {
            panic!("two servers");
        };
        for server in [one, two] {
            assert_eq!(server.get_password(), Some(&b"p@ss"[..]));
            assert_eq!(server.get_dbname(), Some("chat"));
            assert_eq!(server.get_application_name(), Some("x"));
            assert_eq!(server.get_hosts().len(), 1);
        }
        let file = Trusted::File("/a b.pem".into());
        assert!(database.trusted == Some(file));
    }

    #[test]
    fn what_goes_over_a_network_is_encrypted_unless_told_otherwise() {
        for (url, is_encrypted) in [
            ("postgres://ann@%2Frun%2Fpostgresql/chat", false),
            ("postgres://ann@localhost/chat", false),
            ("postgres://ann@127.0.0.1,[::1]/chat", false),
            ("postgres://ann@127.0.0.1,one.example/chat", true),
            ("postgres://ann@10.0.0.1/chat", true),
            ("postgres://ann@10.0.0.1/chat?sslmode=disable", false),
            ("postgres://ann@localhost/chat?sslmode=require", true),
            ("postgres://ann@localhost/chat?sslmode=verify-full", true),
        ] {
            let database = read(url).unwrap();
            assert_eq!(database.trusted.is_some(), is_encrypted, "{url}");
            for server in &database.servers {
                let required = server.get_ssl_mode() == SslMode::Require;
                assert_eq!(required, is_encrypted, "{url}");
            }
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_a_word_of_it() {
        for url in [
            "messenger.db",
            "mysql://ann:s3cret@one/chat",
            "postgres://ann:s3cret@one:port/chat",
            "postgres://ann:s3cret?s3cret@one/chat",
            "postgres://ann:s3cret@one/chat?sslmode=prefer",
            "postgres://ann:s3cret@one/chat?colour=s3cret",
        ] {
            let refused = read(url).unwrap_err();
            assert!(matches!(refused, ConnectError::Url(_)), "{url}");
            let shown = format!("{refused:?} {refused}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
