//! Where a server is, as text.

/// Why a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It begins with something else.
    #[error("an address begins with tcp://, tls://, ws:// or wss://, or with none of these")]
    Scheme,
    /// This build has no such transport.
    #[error("this program is built without the feature {feature}")]
    Feature {
        /// The feature of this crate that has it.
        feature: &'static str,
    },
    /// There is no host.
    #[error("the host is missing")]
    Host,
    /// There is no port, or none that can be.
    #[error("the port is missing or no number up to 65535")]
    Port,
    /// Something stands behind the port.
    #[error("only ws:// and wss:// have a path")]
    Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Begins with `/`; only WebSocket has one.
    pub(crate) path: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = scheme(text)?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let is_web = matches!(scheme, Scheme::WebSocket | Scheme::WebSocketTls);
        if path != "/" && !is_web {
            return Err(AddressError::Path);
        }
        let (host, port) = host_and_port(authority);
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: match (port, scheme) {
                (Some(port), _) => port.parse().map_err(|_| AddressError::Port)?,
                (None, Scheme::Tcp) => 7788,
                (None, Scheme::Tls) => return Err(AddressError::Port),
                (None, Scheme::WebSocket) => 80,
                (None, Scheme::WebSocketTls) => 443,
            },
            path: path.to_owned(),
        })
    }

    #[cfg(feature = "tls")]
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Tls | Scheme::WebSocketTls)
    }
}

fn scheme(text: &str) -> Result<(Scheme, &str), AddressError> {
    let (name, rest) = text.split_once("://").unwrap_or(("tcp", text));
    let scheme = match name {
        "tcp" => Scheme::Tcp,
        "tls" => Scheme::Tls,
        "ws" => Scheme::WebSocket,
        "wss" => Scheme::WebSocketTls,
        _ => return Err(AddressError::Scheme),
    };
    let needs_tls = matches!(scheme, Scheme::Tls | Scheme::WebSocketTls);
    let needs_websocket = matches!(scheme, Scheme::WebSocket | Scheme::WebSocketTls);
    if needs_tls && cfg!(not(feature = "tls")) {
        return Err(AddressError::Feature { feature: "tls" });
    }
    if needs_websocket && cfg!(not(feature = "websocket")) {
        let feature = "websocket";
        return Err(AddressError::Feature { feature });
    }
    Ok((scheme, rest))
}

/// The host, and what stands behind its colon. An IPv6 address with a port is in brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    if let Some(bracketed) = authority.strip_prefix('[')
        && let Some((host, rest)) = bracketed.split_once(']')
    {
        return (host, rest.strip_prefix(':'));
    }
    match authority.rsplit_once(':') {
        // More colons are an IPv6 address without a port.
        Some((host, _)) if host.contains(':') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Scheme, String, u16, String) {
        let Address {
            scheme,
            host,
            port,
            path,
        } = Address::parse(text).unwrap();
        (scheme, host, port, path)
    }

    #[test]
    fn hosts_have_ports_and_brackets() {
        let tcp = |host: &str, port| (Scheme::Tcp, host.to_owned(), port, "/".to_owned());
        assert_eq!(parsed("example.org:1234"), tcp("example.org", 1234));
        assert_eq!(parsed("tcp://example.org/"), tcp("example.org", 7788));
        assert_eq!(parsed("[::1]:1234"), tcp("::1", 1234));
        assert_eq!(parsed("::1"), tcp("::1", 7788));
        assert_eq!(Address::parse(":1234"), Err(AddressError::Host));
        assert_eq!(Address::parse("host:65536"), Err(AddressError::Port));
        assert_eq!(Address::parse("host:1/ws"), Err(AddressError::Path));
        assert_eq!(Address::parse("http://host"), Err(AddressError::Scheme));
    }

    #[test]
    #[cfg(feature = "websocket")]
    fn only_a_websocket_has_a_path() {
        let (_, host, port, path) = parsed("ws://example.org/chat/ws");
        assert_eq!((&*host, port, &*path), ("example.org", 80, "/chat/ws"));
    }

    #[test]
    #[cfg(not(feature = "websocket"))]
    fn what_is_not_built_in_is_told() {
        let missing = Address::parse("ws://example.org");
        let feature = "websocket";
        assert_eq!(missing, Err(AddressError::Feature { feature }));
    }
}
