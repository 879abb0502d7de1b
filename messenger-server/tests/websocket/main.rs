//! Connections over WebSocket, by clients of raw frames: how they begin, what they are held to, how they end. The rules
//! that hold over any transport are tested by `over_websocket.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

#[path = "../support/mod.rs"]
mod support;

mod binary;
mod bounds;
mod closing;
mod frames;
mod upgrade;

use futures_util::{SinkExt, StreamExt};
use messenger_core::Policy;
use messenger_server::Transport;
use messenger_server::websocket::Origins;
use std::net::SocketAddr;
use support::websocket::WebSocket;
use support::{SOON, TestServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

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
        let serving = serving.serve_websocket(listener, None, origins, forever);
        serving.await
    });
    address
}

async fn start_with(policy: Policy, transport: Transport) -> (TestServer, SocketAddr) {
    let server = TestServer::start(policy, transport).await;
    let address = listen(&server, Origins::SameHost).await;
    (server, address)
}

async fn start(transport: Transport) -> (TestServer, SocketAddr) {
    start_with(Policy::default(), transport).await
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
    // Of each length that a header tells in its own way; a long one is shared by all who are given it.
    for length in [1, 100, 5_000, 60_000] {
        let long = "x".repeat(length);
        bob.send(&message("ann", &long)).await;
        assert_eq!(ann.object().await["data"]["body"], *long);
    }
    let data = "A".repeat(3_000_000);
    bob.send(&format!(
        r#"{{"action":"message","data":{{"uid":"ann","attach":{{"mime":"x","data":"{data}"}}}}}}"#
    ))
    .await;
    assert_eq!(ann.object().await["data"]["attach"]["data"], *data);
}

/// Both ends must not have misread the standard in the same way.
#[tokio::test]
async fn a_client_of_another_library_talks_to_it() {
    let (_server, address) = start(Transport::default()).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let asked = client_async(format!("ws://{address}/ws"), stream).await;
    let (mut socket, _) = asked.unwrap();
    let talk = async {
        let welcome = socket.next().await.unwrap().unwrap();
        assert!(welcome.into_text().unwrap().contains("welcome"));
        let request = r#"{"action":"contactlist","data":{}}"#;
        socket.send(Message::text(request)).await.unwrap();
        let refused = socket.next().await.unwrap().unwrap();
        assert!(refused.into_text().unwrap().contains("\"status\":6"));
        socket.send(Message::Ping("there?".into())).await.unwrap();
        let pong = socket.next().await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong("there?".into()));
        socket.close(None).await.unwrap();
        let Some(Ok(Message::Close(Some(closed)))) = socket.next().await else {
            panic!("it ended otherwise");
        };
        assert_eq!(u16::from(closed.code), 1000);
        assert!(socket.next().await.is_none(), "in good order");
    };
    timeout(SOON, talk).await.unwrap();
}

/// A list is encoded as it is taken, and nobody knows how long it is when it begins.
#[tokio::test]
async fn a_long_list_is_one_message_and_what_follows_comes_behind_it() {
    let (_server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    let picture = "A".repeat(60_000);
    let data = format!(r#"{{"email":"seen@example.org","picture":"{picture}"}}"#);
    ann.send(&format!(r#"{{"action":"setuserinfo","data":{data}}}"#))
        .await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    let mut bob = WebSocket::log_in(address, "bob").await;
    let entry = r#"{"myid":"1","name":"x","phone":"","email":"seen@example.org"}"#;
    for entries in [0, 1, 2, 50] {
        let contacts = vec![entry; entries].join(",");
        bob.send(&format!(
            r#"{{"action":"import","data":{{"contacts":[{contacts}]}}}}"#
        ))
        .await;
        bob.send(r#"{"action":"userinfo","data":{"user":"ann"}}"#)
            .await;
        let list = bob.object().await;
        let list = list["data"]["list"].as_array().unwrap();
        assert_eq!(list.len(), entries);
        assert!(list.iter().all(|one| one["picture"] == *picture));
        assert_eq!(bob.object().await["data"]["picture"], *picture);
    }
}
