//! WebSocket: the HTTP upgrade before the first message. What a message is on the wire is the connection's affair.
//!
//! [`upgrade`] is for an embedder's own HTTP server, such as an axum router; [`Server::serve_websocket`] listens for
//! nothing else.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_server::websocket::{Origins, upgrade};
//! use messenger_server::{Server, Transport};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), messenger_core::BuildError> {
//! let server = Server::new(Engine::builder().build()?, Transport::default());
//! let route = axum::routing::any(async move |mut request: axum::extract::Request| {
//!     upgrade(&server, &mut request, None, &Origins::SameHost)
//! });
//! let router: axum::Router = axum::Router::new().route("/ws", route);
//! # Ok(())
//! # }
//! ```

pub use crate::origins::{Origins, OriginsError};

use crate::server::{Failed, Framing, Over};
use crate::{Drained, Server, Tls};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tungstenite::handshake::server::create_response_with_body;

/// Where the server's own listener accepts WebSockets.
const PATHS: [&str; 2] = ["/", "/ws"];

/// The longest head of a request, in bytes. (Hyper allows no less.)
pub(crate) const LONGEST_HEAD: usize = 8 * 1024;

/// The most headers that a request may have.
pub(crate) const MOST_HEADERS: usize = 64;

/// Answers a request for a WebSocket, and serves it in a task of its own until it ends, as
/// [`Server::websocket`] does: it counts among [`Transport::connections`](crate::Transport::connections), and
/// [`Server::drain`] waits for it.
///
/// With `peer`, where the client is, it is held to what one address may do in a time. A request that asks for no
/// WebSocket is answered 426, one from a page of another origin 403, one that is malformed 400, and 503 when there
/// are as many connections as may be.
///
/// To be called on a Tokio runtime, with a request whose connection can be upgraded (axum and hyper over HTTP/1.1 do it
/// behind their answer).
pub fn upgrade<B>(
    server: &Server,
    request: &mut Request<B>,
    peer: Option<IpAddr>,
    origins: &Origins,
) -> Response<String> {
    let answer = respond(request, origins);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer;
    }
    let Some(permit) = server.permit() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
    };
    let (upgraded, serving) = (hyper::upgrade::on(request), server.clone());
    let connection = async move {
        match upgraded.await {
            Ok(stream) => {
                let framing = Framing::WebSocket(Bytes::new());
                let task = serving.task(TokioIo::new(stream), peer, framing);
                Box::pin(task).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade to WebSocket broke off"),
        }
    };
    tokio::spawn(server.accepted(Some((permit, connection))));
    answer
}

/// The answer to a request for a WebSocket, or to one that is none.
fn respond<B>(request: &Request<B>, origins: &Origins) -> Response<String> {
    if !asks_for_websocket(request) {
        let mut refused = text(StatusCode::UPGRADE_REQUIRED, "this is for WebSocket");
        let headers = refused.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return refused;
    }
    if !origins.allow(request.headers()) {
        tracing::debug!(
            origin = ?request.headers().get("origin"),
            "a page of another origin was turned away"
        );
        return text(
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect",
        );
    }
    let accepted = create_response_with_body(request, String::new);
    accepted.unwrap_or_else(|error| text(StatusCode::BAD_REQUEST, &error.to_string()))
}

/// True for a request that wants to be upgraded to the version of WebSocket that there is.
fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    let says = |name, value: &str| {
        let header = request.headers().get(name);
        header.is_some_and(|header| header.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    says(UPGRADE, "websocket") && says(SEC_WEBSOCKET_VERSION, "13")
}

fn text(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

impl Server {
    /// As [`serve`](Self::serve), over WebSocket, with TLS if it is given: one JSON object a text message, at the paths `/`
    /// and `/ws`. The request for it is held to [`Transport::handshake_time`](crate::Transport::handshake_time) and
    /// 8 KiB; what is no request for a WebSocket is answered 426, or 404 elsewhere.
    ///
    /// # Cancel safety
    /// As [`serve`](Self::serve).
    pub async fn serve_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Tls>,
        origins: Origins,
        until: impl Future<Output = ()>,
    ) -> Drained {
        let origins = Arc::new(origins);
        self.accept(listener, Over::WebSocket { tls, origins }, until)
            .await
    }

    // What a request takes to be read is in a box, and gone when it is.

    pub(crate) async fn over_ws(self, stream: TcpStream, peer: IpAddr, origins: Arc<Origins>) {
        let opening = async |mut stream| {
            let client = self.client(&mut stream, peer).await?;
            read_request(stream, client, &origins).await
        };
        if let Some(opened) = self.open(peer, Box::pin(opening(stream))).await {
            self.over_upgraded(opened).await;
        }
    }

    pub(crate) async fn over_wss(
        self,
        stream: TcpStream,
        peer: IpAddr,
        tls: Tls,
        origins: Arc<Origins>,
    ) {
        let opening = async |mut stream| {
            let client = self.client(&mut stream, peer).await?;
            let accepted = tls.accept(stream).await;
            let stream = accepted.map_err(|error| (client, error))?;
            read_request(stream, client, &origins).await
        };
        if let Some(opened) = self.open(peer, Box::pin(opening(stream))).await {
            self.over_upgraded(opened).await;
        }
    }

    async fn over_upgraded<S>(&self, opened: Opened<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let framing = Framing::WebSocket(opened.received);
        let task = self.task(opened.stream, Some(opened.client), framing);
        Box::pin(task).await;
    }
}

/// A stream that has become a WebSocket.
struct Opened<S> {
    stream: S,
    client: IpAddr,
    /// What has come behind the request already.
    received: Bytes,
}

/// Reads one HTTP request and answers it. An error unless the stream is a WebSocket then.
async fn read_request<S>(stream: S, client: IpAddr, origins: &Origins) -> Result<Opened<S>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let status = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, origins);
        let _ = status.set(response.status());
        async { Ok::<_, Infallible>(response) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let served = (&mut connection).await;
    served.map_err(|error| (client, io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let parts = connection.into_parts();
    match status.get() {
        Some(&StatusCode::SWITCHING_PROTOCOLS) => Ok(Opened {
            stream: parts.io.into_inner(),
            client,
            received: parts.read_buf,
        }),
        Some(other) => {
            let sentence = format!("a request for no WebSocket was answered {other}");
            Err((client, io::Error::other(sentence)))
        }
        None => Err((client, io::ErrorKind::UnexpectedEof.into())),
    }
}

/// An answer that is no upgrade is the connection's last. (Without `keep_alive` hyper would say that of an upgrade, too, and
/// clients would refuse it.)
fn answer(request: &Request<Incoming>, origins: &Origins) -> Response<String> {
    let mut answer = match PATHS.contains(&request.uri().path()) {
        true => respond(request, origins),
        false => text(StatusCode::NOT_FOUND, "WebSocket is at / and /ws"),
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().append(CONNECTION, close);
    }
    answer
}
