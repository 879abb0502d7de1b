//! What the log begins with: what is served, and how to try it.

use crate::cli::VERSION;
use messenger_server::StoreUrl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Tells the version, where data lies, and how many connections there may be.
pub(crate) fn tell(store: &StoreUrl, connections: usize) {
    tracing::info!(version = VERSION, %store, connections, "messenger-server");
}

/// Tells how to try what listens here.
pub(crate) fn tell_how_to_try(tcp: &TcpListener, page: Option<&TcpListener>) {
    let Ok(address) = tcp.local_addr().map(near) else {
        return;
    };
    let (host, port) = (address.ip(), address.port());
    match page.and_then(|page| page.local_addr().ok()).map(near) {
        Some(page) => {
            tracing::info!("try it: open http://{page}/ in a browser, or: nc {host} {port}")
        }
        None => tracing::info!(
            "try it: nc {host} {port} (with --web-listen 127.0.0.1:7780 also in a browser)"
        ),
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
