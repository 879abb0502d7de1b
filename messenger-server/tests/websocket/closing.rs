//! How connections end, and which close codes tell why: PROTOCOL.md has the table.

use super::support::websocket::{BINARY, CLOSE, CONTINUATION, Ended, FIN, TEXT, WebSocket};
use super::{message, start, start_with};
use messenger_core::Policy;
use messenger_server::Transport;
use std::time::Duration;

#[tokio::test]
async fn a_client_that_closes_is_answered_everything_and_1000() {
    let (_server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    ann.send(&message("ann", "last words")).await;
    ann.send_frame(FIN | CLOSE, &1001_u16.to_be_bytes()).await;
    assert_eq!(ann.object().await["data"]["status"], 0);
    assert_eq!(ann.ended().await, Ended::Closed(1000));
    // Without a code, and with something behind it that counts for nothing.
    let mut bob = WebSocket::log_in(address, "bob").await;
    bob.send_frame(FIN | CLOSE, b"").await;
    bob.send(&message("bob", "too late")).await;
    assert_eq!(bob.ended().await, Ended::Closed(1000));
    let mut bob = WebSocket::log_in(address, "bob").await;
    bob.send(r#"{"action":"contactlist","data":{}}"#).await;
    assert_eq!(bob.object().await["action"], "contactlist", "no message");
}

#[tokio::test]
async fn a_server_that_stops_says_1001() {
    let (server, address) = start(Transport::default()).await;
    let mut ann = WebSocket::log_in(address, "ann").await;
    let mut nobody = WebSocket::connect(address).await;
    server.server.stop();
    assert_eq!(ann.ended().await, Ended::Closed(1001));
    assert_eq!(nobody.ended().await, Ended::Closed(1001));
}

/// What is wrong, how it is answered, and the close code.
#[tokio::test]
async fn what_cannot_be_read_is_answered_3_and_closed_with_a_code() {
    let (_server, address) = start(Transport::default()).await;
    let request = r#"{"action":"logout","data":{}}"#;
    let two = format!("{request}{request}");
    let long = format!(r#"{{"action":"{}"}}"#, "x".repeat(20_000));
    let cases: [(u8, &[u8], u16); 10] = [
        (FIN | BINARY, request.as_bytes(), 1003),
        (FIN | TEXT, b"hello", 1007),
        (FIN | TEXT, br#"{"action":"auth""#, 1007),
        (FIN | TEXT, b"{\"action\":\"\xff\"}", 1007),
        (FIN | TEXT, b"[]", 1007),
        (FIN | TEXT, long.as_bytes(), 1009),
        (TEXT, long.as_bytes(), 1009),
        (FIN | CONTINUATION, request.as_bytes(), 1002),
        (FIN | 3, request.as_bytes(), 1002),
        (FIN | 0x40 | TEXT, request.as_bytes(), 1002),
    ];
    for (first, payload, code) in cases {
        let mut socket = WebSocket::connect(address).await;
        assert_eq!(socket.object().await["action"], "welcome");
        socket.send_frame(first, payload).await;
        let answer = socket.object().await;
        assert_eq!(answer["action"], "unknown", "{first} {payload:?}");
        assert_eq!(answer["data"]["status"], 3);
        assert_eq!(socket.ended().await, Ended::Closed(code), "{answer}");
    }
    // The first of two objects is a request like any other.
    let mut socket = WebSocket::connect(address).await;
    assert_eq!(socket.object().await["action"], "welcome");
    socket.send(&two).await;
    assert_eq!(socket.object().await["action"], "logout");
    assert_eq!(socket.object().await["data"]["status"], 3);
    assert_eq!(socket.ended().await, Ended::Closed(1007));
}

#[tokio::test]
async fn whitespace_around_an_object_and_messages_of_nothing_else_are_ignored() {
    let (_server, address) = start(Transport::default()).await;
    let mut socket = WebSocket::connect(address).await;
    assert_eq!(socket.object().await["action"], "welcome");
    socket.send("").await;
    socket.send(" \r\n").await;
    socket
        .send("\u{feff}{\"action\":\"logout\",\"data\":{}}\n\0")
        .await;
    assert_eq!(socket.object().await["action"], "logout");
    socket.send(r#"{"action":"userinfo","data":{}}"#).await;
    assert_eq!(socket.object().await["action"], "userinfo");
}

#[tokio::test]
async fn a_session_that_ends_says_4401() {
    let mut policy = Policy::default();
    policy.limits.sessions = 1;
    let (_server, address) = start_with(policy, Transport::default()).await;
    let mut first = WebSocket::log_in(address, "ann").await;
    let mut second = WebSocket::log_in(address, "ann").await;
    assert_eq!(first.ended().await, Ended::Closed(4401));
    // Who wants to be another user connects again.
    second
        .send(r#"{"action":"register","data":{"login":"eve","pass":"p","nick":"Eve"}}"#)
        .await;
    assert_eq!(second.object().await["data"]["status"], 5);
    assert_eq!(second.ended().await, Ended::Closed(4401));
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_in_time_is_told_4408() {
    let mut transport = Transport::default();
    transport.time_to_auth = Duration::from_millis(300);
    let (_server, address) = start(transport).await;
    let mut silent = WebSocket::connect(address).await;
    assert_eq!(silent.ended().await, Ended::Closed(4408));
}
