//! Serves clients wherever they come in, until the server is told to stop.

use crate::listeners::{Listeners, log_address};
use messenger_server::{Drained, Server, Settings, Tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What clients on all listeners have in common.
pub(crate) struct Serving<'a> {
    pub(crate) server: &'a Server,
    pub(crate) settings: &'a Settings,
    pub(crate) stop: &'a CancellationToken,
}

impl Serving<'_> {
    /// Serves on all listeners; how many connections had to be cut at the end.
    pub(crate) async fn serve(&self, listeners: Listeners) -> usize {
        let tls = || listeners.tls.clone();
        let (tcp, over_tls, ws, wss, web, web_over_tls) = tokio::join!(
            self.server.serve(listeners.tcp, self.stop.cancelled()),
            self.over_tls(listeners.over_tls, tls()),
            self.websocket(listeners.ws, None, "listening for WebSocket"),
            self.websocket(listeners.wss, tls(), "listening for WebSocket over TLS"),
            self.page(listeners.web, None, "serving the page"),
            self.page(listeners.web_over_tls, tls(), "serving the page over TLS"),
        );
        let all = [tcp, over_tls, ws, wss, web, web_over_tls];
        all.iter().map(|drained| drained.cut).sum()
    }

    async fn over_tls(&self, listener: Option<TcpListener>, tls: Option<Tls>) -> Drained {
        let Some((listener, tls)) = listener.zip(tls) else {
            return Drained::default();
        };
        log_address(&listener, "listening for TLS");
        let stop = self.stop.cancelled();
        self.server.serve_tls(listener, tls, stop).await
    }

    async fn websocket(
        &self,
        listener: Option<TcpListener>,
        tls: Option<Tls>,
        what: &str,
    ) -> Drained {
        let Some(listener) = listener else {
            return Drained::default();
        };
        log_address(&listener, what);
        let origins = self.settings.listening.ws_origin.clone();
        let (origins, stop) = (origins.unwrap_or_default(), self.stop.cancelled());
        let serving = self.server.serve_websocket(listener, tls, origins, stop);
        serving.await
    }

    async fn page(&self, listener: Option<TcpListener>, tls: Option<Tls>, what: &str) -> Drained {
        let Some(listener) = listener else {
            return Drained::default();
        };
        log_address(&listener, what);
        let stop = self.stop.cancelled();
        self.server.serve_web(listener, tls, stop).await
    }
}
