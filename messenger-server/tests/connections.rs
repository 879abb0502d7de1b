//! What a connection is held to, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_core::Policy;
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_server::Transport;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Raw, SOON, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start() -> TestServer {
    TestServer::start(Policy::default(), Transport::default()).await
}

/// A server whose store can be told to wait.
async fn start_held(transport: Transport) -> (TestServer, FaultyStorage) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let shared = Arc::new(storage.clone());
    let server = TestServer::start_on(shared, Policy::default(), transport).await;
    (server, storage)
}

/// Waits until so many appends wait in the store.
async fn held(storage: &FaultyStorage, count: usize) {
    let held = async {
        while storage.held() < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, held).await.expect("appends to come");
    assert_eq!(storage.held(), count);
}

fn message(to: &str, body: &str) -> String {
    format!(r#"{{"action":"message","data":{{"uid":"{to}","body":"{body}"}}}}"#)
}

fn body(event: &Value) -> &str {
    assert_eq!(event["action"], "ev_message", "{event}");
    event["data"]["body"].as_str().unwrap()
}

#[tokio::test]
async fn frames_may_come_byte_by_byte() {
    let server = start().await;
    let mut ann = server.connect().await;
    let frame = r#" {"action":"register","data":{"login":"ann","pass":"é}\"{","nick":"Ann"}} "#;
    for byte in frame.as_bytes() {
        ann.stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(ann.frame().await["data"]["status"], 0);
}

/// A deployed client: it reads until its socket is silent for 300 ms, takes what it has read if the last
/// byte is a closing brace and drops it otherwise, and splits it by counting braces blindly.
async fn deployed_client_reads(stream: &mut TcpStream) -> Vec<Value> {
    let mut read = Vec::new();
    let mut chunk = vec![0; 4096];
    while let Ok(got) = timeout(Duration::from_millis(300), stream.read(&mut chunk)).await {
        let got = got.unwrap();
        if got == 0 {
            break;
        }
        read.extend_from_slice(&chunk[..got]);
    }
    if read.last() != Some(&b'}') {
        return Vec::new();
    }
    let mut frames = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (index, byte) in read.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            frames.push(serde_json::from_slice(&read[start..=index]).expect("a frame"));
            start = index + 1;
        }
    }
    frames
}

#[tokio::test]
async fn a_deployed_client_finds_every_frame() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let requests = concat!(
        r#"{"action":"register","data":{"login":"ann","pass":"p","nick":"}{"}}"#,
        r#"{"action":"auth","data":{"login":"ann","pass":"p"}}"#,
        r#"{"action":"message","data":{"uid":"ann","body":":-} {{ }"}}"#,
    );
    stream.write_all(requests.as_bytes()).await.unwrap();
    let frames = deployed_client_reads(&mut stream).await;
    let actions: Vec<_> = frames
        .iter()
        .map(|frame| frame["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["welcome", "register", "auth", "message", "ev_message"]
    );
    assert_eq!(frames[2]["data"]["nick"], "}{");
    assert_eq!(body(&frames[4]), ":-} {{ }");
}

#[tokio::test]
async fn two_thousand_requests_may_be_sent_before_a_reply_is_read() {
    let server = start().await;
    let (mut ann, _) = server.log_in("ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    let mut burst = String::new();
    for number in 0..2000 {
        burst.push_str(&message("bob", &number.to_string()));
        if number % 100 == 0 {
            burst.push_str(r#"{"action":"contactlist","data":{}}"#);
        }
    }
    ann.send(&burst).await;
    for number in 0..2000 {
        let reply = ann.frame().await;
        assert_eq!(
            (&reply["action"], &reply["data"]["status"]),
            (&"message".into(), &0.into())
        );
        let copy = ann.frame().await;
        assert_eq!(body(&copy), number.to_string());
        assert_eq!(copy["data"]["id"], reply["data"]["id"]);
        if number % 100 == 0 {
            assert_eq!(ann.frame().await["action"], "contactlist");
        }
    }
    for number in 0..2000 {
        let event = bob.frame().await;
        assert_eq!(body(&event), number.to_string());
        assert_eq!(event["data"]["seq"], number + 1);
    }
}

#[tokio::test]
async fn messages_overlap_in_the_store_and_other_requests_wait() {
    let mut transport = Transport::default();
    transport.driver.overlapping = 10;
    let (server, storage) = start_held(transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    storage.hold_appends();
    let mut burst: String = (0..5)
        .map(|number| message("ann", &number.to_string()))
        .collect();
    burst.push_str(r#"{"action":"addcontact","data":{"uid":"nobody"}}"#);
    burst.extend((5..20).map(|number| message("ann", &number.to_string())));
    ann.send(&burst).await;
    // Five overlap, and nothing passes the other request.
    held(&storage, 5).await;
    storage.release(5);
    let mut replies = Vec::new();
    while replies.last().is_none_or(|action| action != "addcontact") {
        let frame = ann.frame().await;
        let action = frame["action"].as_str().unwrap().to_owned();
        if action != "ev_message" {
            replies.push(action);
        }
    }
    assert_eq!(
        replies,
        [
            "message",
            "message",
            "message",
            "message",
            "message",
            "addcontact"
        ]
    );
    // Ten more overlap, and no more than ten.
    held(&storage, 15).await;
    storage.release(15);
    let mut bodies = Vec::new();
    while bodies.len() < 15 {
        let frame = ann.frame().await;
        if frame["action"] == "ev_message" && frame["data"]["seq"].as_u64().unwrap() > 5 {
            bodies.push(body(&frame).to_owned());
        }
    }
    assert_eq!(
        bodies,
        (5..20).map(|number| number.to_string()).collect::<Vec<_>>()
    );
}

/// A stream that has a buffer of its own passes on only what was flushed, and a small pipe behind it
/// makes flushing wait.
#[tokio::test]
async fn a_stream_with_a_buffer_is_flushed() {
    let server = start().await;
    let (client, stream) = tokio::io::duplex(16);
    tokio::spawn(server.server.connection(BufStream::new(stream)));
    let connected = messenger_client::over(BufStream::new(client));
    let (client, mut events) = timeout(SOON, connected).await.unwrap().unwrap();
    let pass = messenger_client::proto::Password::md5_of("secret");
    let talk = async {
        client.register("ann", &pass, "Ann").await.unwrap();
        client.auth("ann", &pass).await.unwrap();
        for number in 0..20 {
            let sent = client.send("ann", &number.to_string()).await.unwrap();
            assert_eq!(events.next_message().await.unwrap().message.id, sent.id);
        }
    };
    timeout(SOON, talk)
        .await
        .expect("everything to be passed on");
    drop(client);
    assert!(timeout(SOON, events.next_message()).await.unwrap().is_err());
}

/// A backlog of many pages does not keep the server from hearing acknowledgements.
#[tokio::test]
async fn acknowledgements_are_heard_while_a_backlog_flows() {
    let server = start().await;
    let (mut ann, _) = server.log_in("ann").await;
    let mut bob = server.connect().await;
    bob.log_in("bob").await;
    drop(bob);
    let long = "x".repeat(10_000);
    for _ in 0..1000 {
        ann.send(&message("bob", &long)).await;
        ann.frame().await;
        ann.frame().await;
    }
    let mut bob = server.connect().await;
    let auth = r#"{"action":"auth","data":{"login":"bob","pass":"secret","features":["ack"]}}"#;
    bob.send(auth).await;
    assert_eq!(bob.frame().await["data"]["status"], 0);
    assert_eq!(bob.frame().await["data"]["seq"], 1);
    bob.send(r#"{"action":"ack","data":{"seq":1}}"#).await;
    let mut before = 0;
    while bob.frame().await["action"] != "ack" {
        before += 1;
    }
    assert!(before < 900, "answered only after {before} messages");
}

#[tokio::test]
async fn requests_under_way_are_bounded_in_bytes() {
    let mut transport = Transport::default();
    transport.driver.overlapping_bytes = 100_000;
    let (server, storage) = start_held(transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    storage.hold_appends();
    let message = message("ann", &"x".repeat(40_000));
    ann.send(&message.repeat(10)).await;
    // The third passes the mark; no further one is begun.
    held(&storage, 3).await;
    storage.release(10);
    for _ in 0..10 {
        while ann.frame().await["action"] != "message" {}
    }
}

#[tokio::test]
async fn a_copy_larger_than_a_mailbox_reaches_the_other_devices() {
    let server = start().await;
    let (mut phone, _) = server.log_in("ann").await;
    let (mut tablet, _) = server.log_in("ann").await;
    server.log_in("bob").await.0.probe().await;
    let data = "A".repeat(5 * 1024 * 1024);
    let frame = format!(
        r#"{{"action":"message","data":{{"uid":"bob","attach":{{"mime":"x","data":"{data}"}}}}}}"#
    );
    phone.send(&frame).await;
    let copy = tablet.frame().await;
    assert_eq!(
        copy["data"]["attach"]["data"].as_str().unwrap().len(),
        data.len()
    );
}

#[tokio::test]
async fn a_flood_of_one_client_does_not_keep_another_waiting() {
    const FLOOD: usize = 10_000;
    let server = start().await;
    let (mut ann, _) = server.log_in("ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    ann.probe().await;
    bob.probe().await;
    // The server has one thread here, and finds both at once.
    let flood = r#"{"action":"contactlist","data":{}}"#.repeat(FLOOD);
    ann.send(&flood).await;
    bob.probe().await;
    let mut answered = 0;
    let mut chunk = vec![0; 1 << 20];
    while let Ok(read) = ann.stream.try_read(&mut chunk) {
        answered += chunk[..read].iter().filter(|byte| **byte == b'[').count();
    }
    assert!(
        answered < FLOOD / 2,
        "answered after {answered} of the flood"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_device_reaches_the_others() {
    let server = start().await;
    let (mut phone, _) = server.log_in("ann").await;
    let (tablet, _) = server.log_in("ann").await;
    let (bob, _) = server.log_in("bob").await;
    // Its copies are several times what a mailbox holds.
    const ROUNDS: usize = 10;
    const BURST: usize = 2000;
    let burst = message("bob", &"x".repeat(500)).repeat(BURST);
    // In tasks of their own, so that none waits for the phone.
    let watching = [tablet, bob].map(|mut device| {
        tokio::spawn(async move {
            for _ in 0..ROUNDS * BURST {
                assert_eq!(device.frame().await["action"], "ev_message");
            }
        })
    });
    for _ in 0..ROUNDS {
        phone.send(&burst).await;
        for _ in 0..2 * BURST {
            phone.frame().await;
        }
    }
    for watched in watching {
        watched.await.unwrap();
    }
}

#[tokio::test]
async fn requests_under_way_are_carried_out_though_the_client_is_gone() {
    let (server, storage) = start_held(Transport::default()).await;
    let (mut bob, _) = server.log_in("bob").await;
    let (mut ann, _) = server.log_in("ann").await;
    storage.hold_appends();
    ann.send(&message("bob", "the last words")).await;
    held(&storage, 1).await;
    // Closed with an unread reply on its way: the peer is told with a reset.
    ann.stream.set_zero_linger().unwrap();
    drop(ann);
    storage.release(1);
    // Told at once, not by a later look into the store.
    assert_eq!(body(&bob.frame().await), "the last words");
}

#[tokio::test]
async fn large_attachments_arrive_as_they_were_sent() {
    let server = start().await;
    let (mut ann, _) = server.log_in("ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    let data: String = (0..12 * 1024 * 1024_u32)
        .map(|at| char::from(b'A' + (at % 26) as u8))
        .collect();
    // One more byte than data, so that escapes are read and written on the way.
    let frame = format!(
        r#"{{"action":"message","data":{{"uid":"bob","attach":{{"mime":"x","data":"{data}\/"}}}}}}"#
    );
    let (sent, received) = tokio::join!(
        async {
            ann.send(&frame).await;
            (ann.frame().await, ann.frame().await)
        },
        bob.frame(),
    );
    let (reply, copy) = sent;
    assert_eq!(reply["data"]["status"], 0);
    for event in [copy, received] {
        let found = event["data"]["attach"]["data"].as_str().unwrap();
        assert!(found.strip_suffix('/') == Some(&data), "changed on the way");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_misses_nothing() {
    let patience = Duration::from_millis(200);
    let mut transport = Transport::default();
    transport.write_stall = patience;
    let server = TestServer::start(Policy::default(), transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    let (mut deaf, sid) = server.log_in("deaf").await;
    // Far more than the systems' buffers hold.
    const SENT: u64 = 500;
    let long = "x".repeat(60_000);
    for number in 0..SENT {
        ann.send(&message("deaf", &format!("{number} {long}")))
            .await;
        assert_eq!(ann.frame().await["data"]["status"], 0);
        ann.frame().await;
    }
    // Somebody else is served all the while, for longer than the server waits.
    let (mut eve, _) = server.log_in("eve").await;
    let full = Instant::now();
    while full.elapsed() < 2 * patience {
        eve.probe().await;
    }
    let mut chunk = vec![0; 1 << 20];
    let end = async { while matches!(deaf.stream.read(&mut chunk).await, Ok(read) if read > 0) {} };
    timeout(SOON, end)
        .await
        .expect("the client to be disconnected");
    // What its system had not taken is still there.
    let mut again = server.connect().await;
    let resume = format!(r#"{{"action":"contactlist","data":{{"cid":"deaf","sid":"{sid}"}}}}"#);
    again.send(&resume).await;
    assert_eq!(again.frame().await["data"]["status"], 0);
    let mut newest = 0;
    while newest < SENT {
        let event = again.frame().await;
        let seq = event["data"]["seq"].as_u64().unwrap();
        assert!(newest == 0 || seq == newest + 1, "passed a message over");
        newest = seq;
    }
}

#[tokio::test]
async fn requests_are_not_read_while_too_much_is_unsent() {
    let mut transport = Transport::default();
    transport.write_stall = Duration::from_secs(60);
    transport.driver.unsent = 64 * 1024;
    let server = TestServer::start(Policy::default(), transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    server.log_in("bob").await.0.probe().await;
    // Far more than the systems' buffers and the server's share hold.
    let long = "x".repeat(60_000);
    let message = message("bob", &long);
    let stuck = async {
        for _ in 0..2000 {
            ann.stream.write_all(message.as_bytes()).await.unwrap();
        }
    };
    let pushed_through = timeout(Duration::from_secs(2), stuck).await;
    assert!(
        pushed_through.is_err(),
        "the server took 120 MB for a client that reads nothing"
    );
    // It goes on as soon as the client reads.
    assert_eq!(ann.frame().await["data"]["status"], 0);
}

#[tokio::test]
async fn a_client_that_does_not_authenticate_in_time_is_disconnected() {
    let mut transport = Transport::default();
    transport.time_to_auth = Duration::from_millis(300);
    let server = TestServer::start(Policy::default(), transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    let mut silent = server.connect().await;
    assert_eq!(silent.try_frame().await, None);
    ann.probe().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away() {
    let mut transport = Transport::default();
    transport.connections = 2;
    let server = TestServer::start(Policy::default(), transport).await;
    let first = server.connect().await;
    let _second = server.connect().await;
    let mut third = Raw::new(TcpStream::connect(server.address).await.unwrap());
    assert_eq!(third.try_frame().await, None);
    // A place that was given back can be taken.
    drop(first);
    let taken = async {
        loop {
            let mut raw = Raw::new(TcpStream::connect(server.address).await.unwrap());
            if raw.try_frame().await.is_some() {
                return;
            }
        }
    };
    timeout(SOON, taken)
        .await
        .expect("the place to be given back");
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_received() {
    let server = start().await;
    let (mut ann, _) = server.log_in("ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    bob.probe().await;
    let burst: String = (0..100)
        .map(|number| message("bob", &number.to_string()))
        .collect();
    ann.send(&burst).await;
    // The first reply shows that the burst has arrived.
    assert_eq!(ann.frame().await["data"]["status"], 0);
    server.server.stop();
    server.server.stop();
    let mut accepted = 1;
    while let Some(frame) = ann.try_frame().await {
        accepted += u64::from(frame["action"] == "message");
    }
    assert_eq!(accepted, 100);
    while bob.try_frame().await.is_some() {}
    let address = server.address;
    drop((ann, bob));
    assert_eq!(server.stopped().await.cut, 0);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "still listening"
    );
}

#[tokio::test]
async fn connections_that_do_not_finish_in_time_are_cut() {
    let mut transport = Transport::default();
    transport.drain = Duration::from_millis(200);
    let (server, storage) = start_held(transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    storage.hold_appends();
    ann.send(&message("ann", "never stored")).await;
    held(&storage, 1).await;
    server.server.stop();
    assert_eq!(server.stopped().await.cut, 1);
}
