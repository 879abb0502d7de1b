//! The sockets that clients and monitoring come in by: passed by a service manager, or the settings' own.

use crate::activation::{ActivationError, Passed};
use messenger_server::{MetricsListen, Settings, SettingsError, Tls};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

/// Where metrics are told unless the settings say otherwise, if nobody else listens there.
const METRICS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7789);

/// Where Linux tells how many connections may wait to be taken, whatever a program asks for.
const MOST_BACKLOG: &str = "/proc/sys/net/core/somaxconn";

/// Why there is no such socket, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address} ({flag} ADDRESS:PORT){}", advice(source.kind()))]
    Listen {
        address: SocketAddr,
        flag: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Activation(#[from] ActivationError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// What to do when an address cannot be listened on.
fn advice(failure: io::ErrorKind) -> &'static str {
    match failure {
        io::ErrorKind::AddrInUse => "; the port is taken: give another, or stop who has it",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are not for everyone: give a higher one, or the right to it (setcap cap_net_bind_service=+ep)"
        }
        _ => "",
    }
}

/// Where the server listens.
pub(crate) struct Listeners {
    pub(crate) tcp: TcpListener,
    pub(crate) over_tls: Option<TcpListener>,
    pub(crate) ws: Option<TcpListener>,
    pub(crate) wss: Option<TcpListener>,
    pub(crate) web: Option<TcpListener>,
    pub(crate) web_over_tls: Option<TcpListener>,
    /// For those over TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics: Option<TcpListener>,
}

impl Listeners {
    /// Takes the sockets that were passed, and listens where there are none.
    pub(crate) fn bind(settings: &Settings, passed: Passed) -> Result<Self, ListenError> {
        // Caught also without a certificate to read again, or it would end the server.
        let mut hang_up = signal(SignalKind::hangup()).map_err(ListenError::Signals)?;
        let backlog = backlog(settings);
        let listening = &settings.listening;
        let tls = listening.tls()?;
        if let Some(tls) = &tls {
            let watch = tls.clone().watch(async move || {
                hang_up.recv().await;
            });
            tokio::spawn(watch);
        }
        let others = [
            listening.tls_listen,
            listening.ws_listen,
            listening.wss_listen,
            listening.web_listen,
            listening.web_tls_listen,
        ];
        passed.check(1 + others.iter().flatten().count())?;
        let mut sockets = Sockets {
            passed,
            number: 0,
            backlog,
        };
        Ok(Self {
            tcp: sockets.next(listening.listen, "--listen")?,
            over_tls: sockets.next_if(listening.tls_listen, "--tls-listen")?,
            ws: sockets.next_if(listening.ws_listen, "--ws-listen")?,
            wss: sockets.next_if(listening.wss_listen, "--wss-listen")?,
            web: sockets.next_if(listening.web_listen, "--web-listen")?,
            web_over_tls: sockets.next_if(listening.web_tls_listen, "--web-tls-listen")?,
            tls,
            metrics: listen_for_metrics(listening.metrics_listen, backlog)?,
        })
    }
}

/// The sockets of clients, in the order in which they are passed.
struct Sockets {
    passed: Passed,
    /// Of the next.
    number: usize,
    backlog: u32,
}

impl Sockets {
    /// The next socket that was passed, or one of our own at this address.
    fn next(
        &mut self,
        address: SocketAddr,
        flag: &'static str,
    ) -> Result<TcpListener, ListenError> {
        let passed = self.passed.take(self.number)?;
        self.number += 1;
        match passed {
            Some(listener) => Ok(listener),
            None => listen(address, self.backlog, flag),
        }
    }

    /// The same, if there is an address.
    fn next_if(
        &mut self,
        address: Option<SocketAddr>,
        flag: &'static str,
    ) -> Result<Option<TcpListener>, ListenError> {
        address.map(|address| self.next(address, flag)).transpose()
    }
}

fn listen(
    address: SocketAddr,
    backlog: u32,
    flag: &'static str,
) -> Result<TcpListener, ListenError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Connections of a server that has ended do not keep the next one from its port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    };
    listen().map_err(|source| ListenError::Listen {
        address,
        flag,
        source,
    })
}

/// How many connections may wait to be taken. That the system allows fewer is told.
fn backlog(settings: &Settings) -> u32 {
    let wanted = u32::try_from(settings.connection.listen_backlog).unwrap_or(u32::MAX);
    let most = std::fs::read_to_string(MOST_BACKLOG).ok();
    let most = most.and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(allowed) = most.filter(|most| *most < wanted) {
        tracing::warn!(
            allowed,
            "fewer connections may wait to be taken than --listen-backlog says; raise net.core.somaxconn (sysctl)"
        );
    }
    wanted
}

/// The listener for metrics. That its usual port is taken keeps no server from serving.
fn listen_for_metrics(
    setting: Option<MetricsListen>,
    backlog: u32,
) -> Result<Option<TcpListener>, ListenError> {
    const FLAG: &str = "--metrics-listen";
    match setting {
        Some(MetricsListen::Off) => Ok(None),
        Some(MetricsListen::At(address)) => listen(address, backlog, FLAG).map(Some),
        None => Ok(match listen(METRICS, backlog, FLAG) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "metrics are not told");
                None
            }
        }),
    }
}

/// The port may have been the system's choice.
pub(crate) fn log_address(listener: &TcpListener, what: &str) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_listen_is_told_what_to_do() {
        let error = ListenError::Listen {
            address: "192.0.2.1:80".parse().unwrap(),
            flag: "--listen",
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(error.to_string().contains("cap_net_bind_service"));
    }
}
