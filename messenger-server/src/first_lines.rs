//! What the log begins with: what is served, and how to try it.

use crate::cli::VERSION;
use crate::listeners::Listeners;
use messenger_server::StoreUrl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Tells the version, where data lies, and how many connections there may be.
pub(crate) fn tell(store: &StoreUrl, connections: usize) {
    tracing::info!(version = VERSION, %store, connections, "messenger-server");
}

/// Tells how to try what listens here.
pub(crate) fn tell_how_to_try(listeners: &Listeners) {
    let Ok(address) = listeners.tcp.local_addr().map(near) else {
        return;
    };
    let page = listeners.web.as_ref();
    // Where there is bash there is this; netcat is missing on most machines.
    let by_hand = format!("cat </dev/tcp/{}/{}", address.ip(), address.port());
    let page = page.and_then(|page| page.local_addr().ok()).map(near);
    match page {
        Some(page) => {
            let page = place(page);
            tracing::info!("try it: open http://{page}/ in a browser, or in bash: {by_hand}");
        }
        None => tracing::info!(
            "try it in bash: {by_hand} (with --web-listen localhost:8080 also in a browser)"
        ),
    }
}

/// The address as everybody types it: to a browser `localhost` and `127.0.0.1` are two, each with a history of its own.
fn place(address: SocketAddr) -> String {
    match address.ip().is_loopback() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    }
}

/// An address that is one of this machine's, for one that stands for all of them.
fn near(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_called_as_everybody_calls_it() {
        let told = |address: &str| address.parse().map(|it| place(near(it)));
        assert_eq!(told("127.0.0.1:8080").as_deref(), Ok("localhost:8080"));
        assert_eq!(told("[::]:8080").as_deref(), Ok("localhost:8080"));
        assert_eq!(told("192.0.2.7:80").as_deref(), Ok("192.0.2.7:80"));
    }
}
