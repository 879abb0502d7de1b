//! The server is told to stop, under load, and started again on the same file: no acknowledged
//! message is lost, and no reply in flight: what was stored was answered.
//!
//! `RESTARTS=500 cargo test -p messenger-server --test restarts` goes on for longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use futures_util::stream::{FuturesOrdered, StreamExt};
use messenger_client::proto::{Password, SessionId, UserId};
use messenger_client::{ClientError, connect};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::SOON;
use support::process::{Process, flags};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

const SENDERS: usize = 4;

/// How many requests each sender has in flight.
const IN_FLIGHT: usize = 32;

/// How many messages are accepted in a round before the server is told to stop.
const A_ROUND: usize = 50;

async fn start(store: &std::path::Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(flags(store));
    command.args(["--max-inbox-messages", "10000000"]);
    Process::spawn(command).await
}

/// Sends until the connection ends; what was accepted, in order.
async fn send(
    address: String,
    (cid, sid): (UserId, SessionId),
    round: usize,
    count: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut accepted = Vec::new();
    let (client, _events) = connect(&address).await.unwrap();
    client.resume(&cid, &sid).await.unwrap();
    let mut in_flight = FuturesOrdered::new();
    for number in 0.. {
        let (client, body) = (client.clone(), format!("{cid} {round} {number}"));
        in_flight.push_back(async move {
            let sent = client.send("recipient", &body).await;
            (sent, body)
        });
        if in_flight.len() < IN_FLIGHT {
            continue;
        }
        match in_flight.next().await {
            Some((Ok(_), body)) => {
                accepted.push(body);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some((Err(ClientError::Refused(failure)), _)) => panic!("refused: {failure}"),
            Some((Err(_), _)) | None => break,
        }
    }
    while let Some((sent, body)) = in_flight.next().await {
        if sent.is_ok() {
            accepted.push(body);
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_and_no_reply_is_lost_by_restarts() {
    let restarts = std::env::var("RESTARTS").map_or(50, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("m.db");
    let pass = Password::md5_of("secret");
    let server = start(&store).await;
    let (client, _events) = connect(&server.address).await.unwrap();
    client
        .register("recipient", &pass, "Recipient")
        .await
        .unwrap();
    let mut sessions = Vec::new();
    for sender in 0..SENDERS {
        let login = format!("sender{sender}");
        client.register(&login, &pass, &login).await.unwrap();
    }
    for sender in 0..SENDERS {
        let accepted = client
            .auth(&format!("sender{sender}"), &pass)
            .await
            .unwrap();
        sessions.push((accepted.uid, accepted.sid));
    }
    drop(client);
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));

    let mut accepted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..restarts {
        let server = start(&store).await;
        let count = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = sessions
            .iter()
            .map(|session| {
                let address = server.address.clone();
                tokio::spawn(send(address, session.clone(), round, Arc::clone(&count)))
            })
            .collect();
        let busy = async {
            while count.load(Ordering::Relaxed) < A_ROUND {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, busy).await.expect("messages get through");
        server.signal("TERM").await;
        assert_eq!(server.ended().await, Some(0), "stopped in good order");
        for (sender, (uid, _)) in senders.into_iter().zip(&sessions) {
            let bodies = timeout(SOON, sender).await.unwrap().unwrap();
            accepted.entry(uid.to_string()).or_default().extend(bodies);
        }
    }

    let server = start(&store).await;
    let (client, mut events) = connect(&server.address).await.unwrap();
    client.auth("recipient", &pass).await.unwrap();
    let total: usize = accepted.values().map(Vec::len).sum();
    let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..total {
        let event = timeout(SOON, events.next_message())
            .await
            .expect("a message");
        let message = event.unwrap().message.clone();
        let bodies = received.entry(message.from.to_string()).or_default();
        bodies.push(message.body.as_str().to_owned());
    }
    assert!(received == accepted, "as accepted, in order");
    // One more, which comes right behind: nothing was stored without being answered.
    client.send("recipient", "the end").await.unwrap();
    let last = timeout(SOON, events.next_message()).await.unwrap().unwrap();
    assert_eq!(last.message.body.as_str(), "the end");
    eprintln!("{total} messages, {restarts} restarts");
}

#[tokio::test]
async fn told_twice_it_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder.path().join("m.db")).await;
    // It never reads, so that its connection cannot be finished.
    let mut stuck = TcpStream::connect(&server.address).await.unwrap();
    stuck.read_u8().await.unwrap();
    fill(&mut stuck).await;
    server.signal("TERM").await;
    server.logs("stopping").await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(1));
}

/// Asks until the server takes no more questions, and reads no answer.
async fn fill(stream: &mut TcpStream) {
    use tokio::io::AsyncWriteExt;
    let question = r#"{"action":"contactlist","data":{}}"#.repeat(1000);
    let full = std::time::Duration::from_millis(500);
    while let Ok(written) = timeout(full, stream.write_all(question.as_bytes())).await {
        written.unwrap();
    }
}
