//! The page for people: files that are part of the program, and beside them, at `/ws`, the WebSocket that they speak over.

mod files;

use crate::origins::Origins;
use crate::server::AFTER_ACCEPT_FAILURE;
use crate::websocket::{LONGEST_HEAD, MOST_HEADERS, upgrade};
use crate::{Drained, Server, Tls};
use files::{File, Files};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How many connections ask for files at once; one more cuts the oldest, so that silent ones keep nobody from the page.
/// (A WebSocket is none of them any more.)
const AT_ONCE: usize = 256;

/// How long the head of a request may take to come, the time between two requests included.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may ask for files. A browser that wants more of them connects again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every answer says: nothing comes from elsewhere, nothing runs that is no file of ours, nobody frames the page.
const SAFETY: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

impl Server {
    /// Serves the page, over TLS if it is given, until `until` completes or [`stop`](Self::stop) is called; then lets
    /// the WebSockets finish, as [`drain`](Self::drain) does.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener. WebSockets go on.
    pub async fn serve_web(
        &self,
        listener: TcpListener,
        tls: Option<Tls>,
        until: impl Future<Output = ()>,
    ) -> Drained {
        let files = Arc::new(Files::new());
        let mut connections = VecDeque::new();
        let mut until = std::pin::pin!(until);
        loop {
            let accepted = tokio::select! {
                () = &mut until => break,
                () = self.stopped() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                sleep(AFTER_ACCEPT_FAILURE).await;
                continue;
            };
            make_room(&mut connections);
            let visit = Visit {
                server: self.clone(),
                files: Arc::clone(&files),
            };
            let peer = peer.ip().to_canonical();
            connections.push_back(tokio::spawn(visit.serve(stream, peer, tls.clone())));
        }
        for connection in connections {
            connection.abort();
        }
        self.drain().await
    }
}

/// Makes room for one more connection, the newest.
fn make_room(connections: &mut VecDeque<JoinHandle<()>>) {
    connections.retain(|connection| !connection.is_finished());
    if connections.len() >= AT_ONCE
        && let Some(oldest) = connections.pop_front()
    {
        oldest.abort();
    }
}

/// One connection that asks for files.
struct Visit {
    server: Server,
    files: Arc<Files>,
}

impl Visit {
    async fn serve(self, stream: TcpStream, peer: IpAddr, tls: Option<Tls>) {
        // It is an open file as well.
        let Some(_permit) = self.server.permit() else {
            return;
        };
        let opening = async |mut stream| {
            let client = self.server.client(&mut stream, peer).await?;
            match &tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Ok((Stream::Tls(Box::new(stream)), client)),
                    Err(error) => Err((client, error)),
                },
                None => Ok((Stream::Plain(stream), client)),
            }
        };
        let opened = self.server.open(peer, opening(stream)).await;
        let answered = async {
            match opened {
                Some((Stream::Plain(stream), client)) => self.answer(stream, client).await,
                Some((Stream::Tls(stream), client)) => self.answer(stream, client).await,
                None => {}
            }
        };
        let _ = timeout(PATIENCE, answered).await;
    }

    async fn answer<S>(&self, stream: S, client: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service =
            service_fn(async |mut request| Ok::<_, Infallible>(self.respond(&mut request, client)));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a visit of the page broke off");
        }
    }

    fn respond(&self, request: &mut Request<Incoming>, client: IpAddr) -> Response<Full<Bytes>> {
        if request.uri().path() == "/ws" {
            let answer = upgrade(&self.server, request, Some(client), &Origins::SameHost);
            return answer.map(|text| Full::new(Bytes::from(text)));
        }
        let mut response = self.file(request);
        for (name, value) in SAFETY {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn file(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, allowed);
            return refused;
        }
        match self.files.find(request.uri().path()) {
            Some(file) => give(file, request.headers()),
            None => text(StatusCode::NOT_FOUND, "the page is at /\n"),
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

fn give(found: File<'_>, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(ETAG, found.content.tag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(found.cached));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if asked.get(IF_NONE_MATCH) == Some(&found.content.tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(found.content.kind));
    let takes_gzip = asked
        .get(ACCEPT_ENCODING)
        .and_then(|taken| taken.to_str().ok())
        .is_some_and(|taken| taken.split(',').any(|name| name.trim() == "gzip"));
    let body = if takes_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        &found.content.packed
    } else {
        &found.content.plain
    };
    *response.body_mut() = Full::new(body.clone());
    response
}

fn text(status: StatusCode, sentence: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(sentence.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
