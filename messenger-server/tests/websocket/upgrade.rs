//! What comes before the first message: an HTTP request, and a proxy's header and TLS before that.

use super::support::certificate::Files;
use super::support::websocket::{Ended, WebSocket, ask, head};
use super::support::{SOON, TestServer};
use super::{listen, message, start};
use messenger_core::Policy;
use messenger_server::Transport;
use messenger_server::websocket::{Origins, upgrade};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// The status of the answer to a request for a WebSocket, at this path and with more headers.
async fn status(address: SocketAddr, path: &str, headers: &str) -> String {
    let head = ask(&mut connect(address).await, path, headers).await;
    head.split(' ').nth(1).unwrap_or("none").to_owned()
}

/// All that is answered to these bytes until the server closes the connection.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address).await;
    // The server may have heard enough before it has heard all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    // Either way of closing is one.
    let _ = read.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_route_of_an_embedders_router_is_a_websocket() {
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let serving = server.server.clone();
    let route = axum::routing::any(async move |mut request: axum::extract::Request| {
        upgrade(&serving, &mut request, None, &Origins::Any)
    });
    let router = axum::Router::new().route("/chat", route);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut ann = WebSocket::over_at(connect(address).await, "/chat").await;
    assert_eq!(ann.object().await["action"], "welcome");
    ann.authenticate("ann").await;
    ann.send(&message("ann", "to myself")).await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    assert_eq!(ann.object().await["data"]["body"], "to myself");
    // The server knows of it.
    let (drained, ended) = tokio::join!(server.server.drain(), ann.ended());
    assert_eq!((drained.cut, ended), (0, Ended::Closed(1001)));
}

#[tokio::test]
async fn an_embedders_connections_count_too() {
    let mut transport = Transport::default();
    transport.connections = 1;
    let server = TestServer::start(Policy::default(), transport).await;
    let serving = server.server.clone();
    let route = axum::routing::any(async move |mut request: axum::extract::Request| {
        upgrade(&serving, &mut request, None, &Origins::Any)
    });
    let router = axum::Router::new().route("/", route);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let _first = WebSocket::connect(address).await;
    assert_eq!(status(address, "/", "").await, "503");
}

#[tokio::test]
async fn both_paths_are_served_and_no_others() {
    let (_server, address) = start(Transport::default()).await;
    for (path, wanted) in [
        ("/", "101"),
        ("/ws", "101"),
        ("/ws?from=page", "101"),
        ("/wsx", "404"),
        ("/ws/", "404"),
    ] {
        assert_eq!(status(address, path, "").await, wanted, "{path}");
    }
}

#[tokio::test]
async fn a_request_for_no_websocket_gets_a_short_answer() {
    let (_server, address) = start(Transport::default()).await;
    let version = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let no_key = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\n\r\n";
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("GET /ws HTTP/1.0\r\n\r\n", "426"),
        (version, "426"),
        ("GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            "426",
        ),
        (no_key, "400"),
        ("NONSENSE\r\n\r\n", "400"),
        (r#"{"action":"auth","data":{}}"#, ""),
        ("", ""),
    ] {
        // The end of what the client says.
        let mut stream = connect(address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        let _ = read.expect("the server closes");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status == wanted || wanted.is_empty(), "{request}: {answer}");
        assert!(answer.len() < 400, "{answer}");
        if wanted == "426" {
            let answer = answer.to_ascii_lowercase();
            assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
            assert!(
                answer.contains("\r\nsec-websocket-version: 13\r\n"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_not_connect() {
    let (server, address) = start(Transport::default()).await;
    for (headers, wanted) in [
        ("Origin: http://localhost:8080\r\n", "101"),
        ("Origin: http://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
        (
            "Origin: http://localhost\r\nOrigin: http://evil.example\r\n",
            "403",
        ),
    ] {
        assert_eq!(status(address, "/", headers).await, wanted, "{headers}");
    }
    let listed = "https://chat.example,http://evil.example".parse().unwrap();
    let address = listen(&server, listed).await;
    let page = |origin| format!("Origin: {origin}\r\n");
    assert_eq!(
        status(address, "/", &page("https://chat.example")).await,
        "101"
    );
    assert_eq!(status(address, "/", &page("http://localhost")).await, "403");
    assert_eq!(status(address, "/", "").await, "101");
}

#[tokio::test]
async fn a_request_is_bounded_in_bytes_and_headers() {
    let (_server, address) = start(Transport::default()).await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let endless = "x".repeat(100_000);
    for request in [long, many, path, endless] {
        let answer = answer(address, request.as_bytes()).await;
        assert!(!answer.contains(" 101 "), "{answer}");
        assert!(answer.len() < 400, "{answer}");
    }
    assert_eq!(status(address, "/", "").await, "101");
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_is_not_waited_for() {
    let mut transport = Transport::default();
    transport.handshake_time = Duration::from_millis(500);
    transport.handshakes = 3;
    let (_server, address) = start(transport).await;
    // A header a moment, for ever.
    let slow = async {
        let mut stream = connect(address).await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while stream.write_all(b"X: y\r\n").await.is_ok() {
            let mut answered = [0; 1];
            let read = timeout(Duration::from_millis(20), stream.read(&mut answered)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    };
    timeout(SOON, slow).await.expect("the server gives it up");
    // Silent ones have places for a time; then others get in.
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect(address).await);
    }
    let served = async { while status(address, "/", "").await != "101" {} };
    timeout(SOON, served).await.expect("to be served");
}

#[tokio::test]
async fn what_comes_right_behind_the_request_is_heard() {
    let (_server, address) = start(Transport::default()).await;
    let mut stream = connect(address).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let first = super::support::websocket::frame(0x81, br#"{"action":"logout","data":{}}"#);
    let bytes = [request.as_bytes(), &first].concat();
    stream.write_all(&bytes).await.unwrap();
    assert!(head(&mut stream).await.contains(" 101 "));
    let mut socket = WebSocket::of(stream);
    assert_eq!(socket.object().await["action"], "welcome");
    assert_eq!(socket.object().await["data"]["status"], 6);
}

#[tokio::test]
async fn it_goes_over_tls() {
    let files = Files::new();
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, tls) = (server.server.clone(), files.load().unwrap());
    let reloaded = tls.clone();
    tokio::spawn(async move {
        let forever = std::future::pending();
        serving
            .serve_websocket(listener, Some(tls), Origins::SameHost, forever)
            .await
    });
    for _ in 0..2 {
        let stream = files.connect(&address.to_string()).await.unwrap();
        let mut ann = WebSocket::over(stream).await;
        assert_eq!(ann.object().await["action"], "welcome");
        ann.authenticate("ann").await;
        let long = "x".repeat(60_000);
        ann.send(&message("ann", &long)).await;
        assert_eq!(ann.object().await["data"]["status"], 0);
        assert_eq!(ann.object().await["data"]["body"], *long);
        // The next connection finds another certificate.
        files.renew();
        assert!(reloaded.reload().unwrap());
    }
}
