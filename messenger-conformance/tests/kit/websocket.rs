//! Faults of a server over WebSocket: a proxy that spoils messages.

use crate::kit;
use crate::server::{Reached, start};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{accept_async, client_async};

/// What becomes of a message.
type Spoils = fn(Message) -> Vec<Message>;

/// Starts a server whose clients' messages, and whose own, are spoilt so.
async fn spoilt(up: Spoils, down: Spoils) -> SocketAddr {
    let server = start(Reached::ByWebSocket, |_| ()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, server, up, down));
        }
    });
    address
}

async fn pass(client: TcpStream, server: SocketAddr, up: Spoils, down: Spoils) {
    let mut client = accept_async(client).await.unwrap();
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut server, _) = client_async(format!("ws://{server}/"), stream)
        .await
        .unwrap();
    loop {
        tokio::select! {
            Some(Ok(message)) = client.next() => {
                for message in up(message) {
                    let _ = server.send(message).await;
                }
            }
            Some(Ok(message)) = server.next() => {
                for message in down(message) {
                    let _ = client.send(message).await;
                }
            }
            else => return,
        }
    }
}

/// As they are.
fn kept(message: Message) -> Vec<Message> {
    vec![message]
}

async fn found(rule: &str, up: Spoils, down: Spoils, got: &str) {
    let url = format!("ws://{}/", spoilt(up, down).await);
    let arguments = ["--patience", "60", "--ws", &url, "--rule", rule];
    let (found, code) = kit(&arguments).await;
    assert_eq!(code, Some(1));
    let found = found[0]["fault"]["got"].as_str().unwrap();
    assert!(found.contains(got), "{found}");
}

#[tokio::test]
async fn another_code() {
    let down: Spoils = |message| match message {
        Message::Close(Some(reason)) => vec![Message::Close(Some(CloseFrame {
            code: 1000.into(),
            reason: reason.reason,
        }))],
        other => vec![other],
    };
    found("frames/no-json", kept, down, "the end, with code 1000").await;
}

#[tokio::test]
async fn answers_in_binary() {
    let down: Spoils = |message| match message {
        Message::Text(text) => vec![Message::binary(text)],
        other => vec![other],
    };
    found("connecting/welcome", kept, down, "no text message").await;
}

#[tokio::test]
async fn two_objects_a_message() {
    let down: Spoils = |message| match message {
        Message::Text(text) => vec![Message::text(format!("{text}{text}"))],
        other => vec![other],
    };
    found("connecting/welcome", kept, down, "trailing characters").await;
}

#[tokio::test]
async fn binary_messages_that_are_taken() {
    let up: Spoils = |message| match message {
        Message::Binary(bytes) => vec![Message::text(String::from_utf8(bytes.to_vec()).unwrap())],
        other => vec![other],
    };
    found("websocket/binary", up, kept, "contactlist").await;
}

#[tokio::test]
async fn messages_that_are_cut_at_frames() {
    let up: Spoils = |message| match &message {
        Message::Text(text) => match text.split_once("}{") {
            Some((first, second)) => vec![
                Message::text(format!("{first}}}")),
                Message::text(format!("{{{second}")),
            ],
            None => vec![message],
        },
        _ => vec![message],
    };
    found("websocket/two-objects", up, kept, "contactlist").await;
}
