//! Where NATS is, and how to get in.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where NATS is, and how to get in.
///
/// Read from a URL: `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][?OPTION=VALUE&…]`, with `tls://` for servers
/// whose certificates are checked. A token may stand in the place of user and password. What has another meaning in a
/// URL is percent-encoded in user, password, token and values. The options:
///
/// - `prefix`: nodes with the same one hear each other, so it belongs to one store; letters, digits, `-` and `_`.
///   `messenger` when it is absent, unless the program has [another](Self::or_prefix).
/// - `ca`: a PEM file with certificates of authorities to be trusted instead of the system's.
/// - `creds`: a file of credentials, as `nsc` writes it.
///
/// What is between nodes on their way is not encrypted with `nats://`: messages are among it, and the hashes by which
/// sessions are found.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    pub(crate) addresses: Vec<ServerAddr>,
    pub(crate) is_tls: bool,
    pub(crate) access: Option<Access>,
    prefix: Option<String>,
    pub(crate) authorities: Option<PathBuf>,
}

/// How to get in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Access {
    User {
        name: String,
        password: String,
    },
    Token(String),
    /// A file.
    Credentials(PathBuf),
}

/// Why a URL does not say where NATS is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// It begins with something else.
    #[error("the URL of NATS begins with nats:// or tls://")]
    Scheme,
    /// A secret has a sign in it that has another meaning in a URL.
    #[error("in front of the @ the signs / ? # and @ are written as %2F, %3F, %23 and %40")]
    Secret,
    /// Two ways to get in.
    #[error("with creds nothing stands in front of the @")]
    TwoWaysIn,
    /// A host cannot be read.
    #[error("{0:?} is no address of a NATS server")]
    Host(String),
    /// There is no such option.
    #[error("NATS has no option {0:?}; there are prefix, ca and creds")]
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
        let (access, hosts) = match place.rsplit_once('@') {
            Some((access, hosts)) => (Some(access), hosts),
            None => (None, place),
        };
        // What stands in a wrong place is not shown if it may be a part of a secret.
        if options.contains('@') || access.is_some_and(|access| access.contains(['/', '#', '@'])) {
            return Err(ServersError::Secret);
        }
        let hosts = hosts.trim_end_matches('/').split(',');
        let mut servers = Self {
            addresses: hosts
                .map(|host| address(scheme, host))
                .collect::<Result<_, _>>()?,
            is_tls: scheme == "tls",
            access: access.map(user_or_token),
            prefix: None,
            authorities: None,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            servers.set(name, decoded(value))?;
        }
        Ok(servers)
    }
}

fn address(scheme: &str, host: &str) -> Result<ServerAddr, ServersError> {
    let is_alone = !host.is_empty() && !host.contains(['/', '#']);
    let address = format!("{scheme}://{host}")
        .parse()
        .ok()
        .filter(|_| is_alone);
    address.ok_or_else(|| ServersError::Host(host.to_owned()))
}

fn user_or_token(text: &str) -> Access {
    match text.split_once(':') {
        Some((name, password)) => Access::User {
            name: decoded(name),
            password: decoded(password),
        },
        None => Access::Token(decoded(text)),
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl Servers {
    /// With this prefix, unless the URL has named one.
    ///
    /// # Errors
    /// It cannot be part of a subject.
    pub fn or_prefix(mut self, prefix: &str) -> Result<Self, ServersError> {
        if self.prefix.is_none() {
            self.set("prefix", prefix.to_owned())?;
        }
        Ok(self)
    }

    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("messenger")
    }

    fn set(&mut self, option: &str, value: String) -> Result<(), ServersError> {
        match option {
            "prefix" => {
                let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if value.is_empty() || value.len() > LONGEST_PREFIX || !value.chars().all(is_fine) {
                    return Err(ServersError::Prefix);
                }
                self.prefix = Some(value);
            }
            "ca" => self.authorities = Some(value.into()),
            "creds" if self.access.is_some() => return Err(ServersError::TwoWaysIn),
            "creds" => self.access = Some(Access::Credentials(value.into())),
            other => return Err(ServersError::Option(other.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for Servers {
    /// The hosts.
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
            .field("prefix", &self.prefix())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Servers, ServersError> {
        url.parse()
    }

    #[test]
    fn a_url_says_where_nats_is_and_how_to_get_in() {
        let url = "tls://ann:p%40%3F:x@one.example,[::1]:5000/?prefix=chat_2&ca=%2Fa+b.pem";
        let servers = read(url).unwrap();
        assert_eq!(servers.to_string(), "one.example:4222,::1:5000");
        let user = Access::User {
            name: "ann".to_owned(),
            password: "p@?:x".to_owned(),
        };
        assert!(servers.access == Some(user));
        assert!(servers.is_tls);
        assert_eq!(servers.prefix(), "chat_2");
        assert_eq!(servers.authorities, Some("/a+b.pem".into()));
        let shown = format!("{servers:?}");
        assert!(!shown.contains("p@?") && !shown.contains("ann"), "{shown}");
        let servers = servers.or_prefix("store").unwrap();
        assert_eq!(servers.prefix(), "chat_2");
        let plain = read("nats://localhost").unwrap();
        assert!(!plain.is_tls && plain.access.is_none());
        assert_eq!(plain.prefix(), "messenger");
        assert_eq!(plain.or_prefix("store").unwrap().prefix(), "store");
        let token = read("nats://s3%23t@localhost").unwrap();
        assert!(token.access == Some(Access::Token("s3#t".to_owned())));
        let credentials = read("tls://localhost?creds=/etc/chat.creds").unwrap();
        assert!(credentials.access == Some(Access::Credentials("/etc/chat.creds".into())));
    }

    #[test]
    fn what_says_something_else_is_refused() {
        let host = |host: &str| ServersError::Host(host.to_owned());
        for (url, expected) in [
            ("localhost", ServersError::Scheme),
            ("http://localhost", ServersError::Scheme),
            ("nats://", host("")),
            ("nats://ann:secret@", host("")),
            ("nats://one,,two", host("")),
            ("nats://one/two", host("one/two")),
            ("nats://one:port", host("one:port")),
            ("nats://ann:a/b@one", ServersError::Secret),
            ("nats://ann:a?b@one", ServersError::Secret),
            ("nats://ann:a@b@one", ServersError::Secret),
            ("nats://ann@one?creds=/a", ServersError::TwoWaysIn),
            (
                "nats://one?queue=1",
                ServersError::Option("queue".to_owned()),
            ),
            ("nats://one?prefix", ServersError::Prefix),
            ("nats://one?prefix=a.b", ServersError::Prefix),
            ("nats://one?prefix=%3E", ServersError::Prefix),
        ] {
            assert_eq!(read(url), Err(expected), "{url}");
        }
        let long = "x".repeat(LONGEST_PREFIX + 1);
        let refused = read(&format!("nats://one?prefix={long}"));
        assert_eq!(refused, Err(ServersError::Prefix));
    }
}
