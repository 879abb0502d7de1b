//! Connections over WebSocket, by clients of raw frames.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_core::Policy;
use messenger_server::Transport;
use messenger_server::websocket::{Origins, upgrade};
use std::net::SocketAddr;
use support::TestServer;
use support::websocket::WebSocket;
use tokio::net::TcpListener;

fn message(to: &str, body: &str) -> String {
    format!(r#"{{"action":"message","data":{{"uid":"{to}","body":"{body}"}}}}"#)
}

/// A listener for WebSockets beside the server's own.
async fn listen(server: &TestServer, origins: Origins) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = server.server.clone();
    tokio::spawn(async move {
        let forever = std::future::pending();
        serving
            .serve_websocket(listener, None, origins, forever)
            .await
    });
    address
}

async fn start(transport: Transport) -> (TestServer, SocketAddr) {
    let server = TestServer::start(Policy::default(), transport).await;
    let address = listen(&server, Origins::SameHost).await;
    (server, address)
}

#[tokio::test]
async fn messages_pass_between_websocket_and_tcp() {
    let (server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    ann.send(&message("bob", "over WebSocket")).await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    assert_eq!(ann.object().await["action"], "ev_message");
    assert_eq!(bob.frame().await["data"]["body"], "over WebSocket");
    // A long one is shared by all who are given it.
    let long = "x".repeat(60_000);
    bob.send(&message("ann", &long)).await;
    assert_eq!(ann.object().await["data"]["body"], *long);
}

#[tokio::test]
async fn a_route_of_an_embedders_router_is_a_websocket() {
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let serving = server.server.clone();
    let route = axum::routing::any(async move |mut request: axum::extract::Request| {
        upgrade(&serving, &mut request, None, &Origins::Any)
    });
    let router = axum::Router::new().route("/", route);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut ann = WebSocket::log_in(address, "ann").await;
    ann.send(&message("ann", "to myself")).await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    assert_eq!(ann.object().await["data"]["body"], "to myself");
    // The server knows of it.
    assert_eq!(server.server.drain().await.cut, 0);
    assert_eq!(ann.ended().await, support::websocket::Ended::Closed(1001));
}
