//! Pages of which origins may connect.

use hyper::Uri;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use std::str::FromStr;

/// Pages of which origins may connect. A browser says in the header `Origin` where the page comes from; other programs
/// mostly say nothing, and may connect always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host that the browser connects to, whatever their port.
    #[default]
    SameHost,
    /// All.
    Any,
    /// Pages of these origins, such as `https://example.org` or `http://localhost:8080`.
    Listed(Vec<String>),
}

/// It is no list of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "give origins as browsers write them, such as https://example.org,http://localhost:8080, or * for all"
)]
pub struct OriginsError;

impl Origins {
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let is_only = origins.next().is_none();
        is_only
            && match self {
                Self::Any => true,
                Self::Listed(listed) => listed.iter().any(|one| one.eq_ignore_ascii_case(origin)),
                Self::SameHost => is_same_host(origin, headers),
            }
    }
}

fn is_same_host(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| Uri::from_str(host).ok());
    let host = host.as_ref().and_then(Uri::host);
    // Without a scheme it is `null`, the origin of a page that is none.
    let origin = Uri::from_str(origin).ok();
    let origin = origin.filter(|origin| origin.scheme().is_some());
    let origin = origin.as_ref().and_then(Uri::host);
    match (origin, host) {
        (Some(origin), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

impl FromStr for Origins {
    type Err = OriginsError;

    /// `*`, or origins with commas between them.
    fn from_str(text: &str) -> Result<Self, OriginsError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let listed: Result<_, _> = text.split(',').map(origin).collect();
        listed.map(Self::Listed)
    }
}

/// An origin as a browser writes it: scheme, host, and the port unless it is the scheme's usual one.
fn origin(text: &str) -> Result<String, OriginsError> {
    let text = text.trim();
    let uri = Uri::from_str(text).map_err(|_| OriginsError)?;
    let is_whole = uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty());
    let is_usual = matches!(
        (uri.scheme_str(), uri.port_u16()),
        (Some("http"), Some(80)) | (Some("https"), Some(443))
    );
    // A path would never be part of one.
    match is_whole && !is_usual && !text.ends_with('/') && uri.path() == "/" {
        true => Ok(text.to_owned()),
        false => Err(OriginsError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn allows(origins: &str, origin: &str, host: &str) -> bool {
        let origins = match origins {
            "" => Origins::SameHost,
            listed => listed.parse().unwrap(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        origins.allow(&headers)
    }

    #[test]
    fn a_page_of_the_same_host_may_connect() {
        assert!(allows("", "https://example.org", "example.org"));
        assert!(allows("", "https://Example.org", "example.org:7791"));
        assert!(allows("", "http://localhost:8080", "localhost:7791"));
        assert!(allows("", "http://[::1]:8080", "[::1]:7791"));
        assert!(!allows("", "https://example.org", "example.com"));
        assert!(!allows(
            "",
            "https://example.org.evil.example",
            "example.org"
        ));
        assert!(!allows(
            "",
            "https://example.org@evil.example",
            "example.org"
        ));
        assert!(!allows("", "null", "null"));
        assert!(!allows("", "file://", "example.org"));
    }

    #[test]
    fn pages_that_are_listed_may_connect_and_no_others() {
        let listed = "https://example.org, http://localhost:8080";
        assert!(allows(listed, "https://example.org", "chat.example.org"));
        assert!(allows(listed, "http://localhost:8080", "chat.example.org"));
        assert!(!allows(listed, "http://example.org", "example.org"));
        assert!(!allows(listed, "https://example.org:8443", "example.org"));
        assert!(!allows(listed, "null", "example.org"));
        assert!(allows("*", "null", "example.org"));
        assert!(
            Origins::Listed(Vec::new()).allow(&HeaderMap::new()),
            "no browser"
        );
    }

    #[test]
    fn what_no_browser_would_write_is_refused() {
        for text in [
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://example.org/chat",
            "https://example.org:443",
            "http://example.org:80",
            "https://example.org,",
            "*,https://example.org",
        ] {
            assert_eq!(text.parse::<Origins>(), Err(OriginsError), "{text}");
        }
    }
}
