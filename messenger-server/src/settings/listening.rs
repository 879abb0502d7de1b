//! Settings of where clients and monitoring come in.

use super::SettingsError;
use crate::Tls;
use crate::origins::Origins;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// Where clients and monitoring come in.
#[derive(Clone, Debug, clap::Args)]
pub struct ListenSettings {
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

    /// The address and port to listen on for WebSocket, at the paths / and /ws: one JSON object a text message.
    #[arg(
        long,
        env = "MESSENGER_WS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address,
        global = true
    )]
    pub ws_listen: Option<SocketAddr>,

    /// The address and port to listen on for WebSocket over TLS; needs --tls-cert and --tls-key.
    #[arg(
        long,
        env = "MESSENGER_WSS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address,
        global = true
    )]
    pub wss_listen: Option<SocketAddr>,

    /// Pages of which origins may connect over WebSocket, such as `https://example.org,http://localhost:8080`, or `*` for
    /// all. Programs that are no browsers always may. [default: those of the host that the browser connects to]
    #[arg(
        long,
        env = "MESSENGER_WS_ORIGIN",
        value_name = "ORIGINS|*",
        global = true
    )]
    pub ws_origin: Option<Origins>,

    /// The certificate chain of TLS, the server's own first, as PEM. It is read again when it changes,
    /// and on SIGHUP.
    #[arg(long, env = "MESSENGER_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate, as PEM.
    #[arg(long, env = "MESSENGER_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// The address and port of the web page, a messenger for people with a browser.
    #[arg(
        long,
        env = "MESSENGER_WEB_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address,
        global = true
    )]
    pub web_listen: Option<SocketAddr>,

    /// The address and port of the web page over TLS; needs --tls-cert and --tls-key.
    #[arg(
        long,
        env = "MESSENGER_WEB_TLS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = listen_address,
        global = true
    )]
    pub web_tls_listen: Option<SocketAddr>,

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
}

/// Where metrics are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// At this address and port.
    At(SocketAddr),
}

impl ListenSettings {
    /// The certificate of what is listened on for TLS; `None` when nothing is.
    ///
    /// # Errors
    /// Something of it is missing, or the certificate cannot be used.
    pub fn tls(&self) -> Result<Option<Tls>, SettingsError> {
        let listens = [self.tls_listen, self.wss_listen, self.web_tls_listen];
        let is_wanted = listens.iter().any(Option::is_some);
        match (is_wanted, &self.tls_cert, &self.tls_key) {
            (false, None, None) => Ok(None),
            (true, Some(certificates), Some(key)) => Ok(Some(Tls::load(certificates, key)?)),
            _ => Err(SettingsError::HalfTls),
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
