//! Limits over real sockets: who a client is, and what all of them together may hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_core::Policy;
use messenger_core::policy::{Rate, Rates};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_server::Transport;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Raw, SOON, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

const MIB: usize = 1024 * 1024;

async fn start(transport: Transport) -> TestServer {
    let storage = Arc::new(MemoryStorage::new());
    TestServer::limited(storage, Policy::default(), transport).await
}

fn behind_proxy() -> Transport {
    let mut transport = Transport::default();
    transport.proxies = vec!["127.0.0.1/32".parse().unwrap()];
    transport
}

/// A connection that begins with these bytes.
async fn begin(server: &TestServer, bytes: &[u8]) -> Raw {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    Raw::new(stream)
}

async fn register(raw: &mut Raw, login: &str) -> u64 {
    raw.send(&format!(
        r#"{{"action":"register","data":{{"login":"{login}","pass":"p","nick":"{login}"}}}}"#
    ))
    .await;
    raw.frame().await["data"]["status"].as_u64().unwrap()
}

#[tokio::test]
async fn limits_see_the_client_behind_a_proxy() {
    let server = start(behind_proxy()).await;
    let first = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 7788\r\n";
    let mut statuses = Vec::new();
    for number in 0..31 {
        let mut raw = begin(&server, first).await;
        assert_eq!(raw.frame().await["action"], "welcome");
        statuses.push(register(&mut raw, &format!("user{number}")).await);
    }
    assert_eq!(statuses.pop(), Some(20), "of one address");
    assert!(statuses.iter().all(|status| *status == 0));
    // Version 2, from another address, in pieces.
    let second = [
        b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
        &[
            0x21, 0x11, 0, 12, 192, 0, 2, 8, 192, 0, 2, 1, 0x13, 0x88, 0x1e, 0x6c,
        ],
    ]
    .concat();
    let mut raw = begin(&server, &second[..9]).await;
    raw.stream.write_all(&second[9..]).await.unwrap();
    assert_eq!(raw.frame().await["action"], "welcome");
    assert_eq!(register(&mut raw, "another").await, 0);
}

#[tokio::test]
async fn nobody_but_a_listed_proxy_is_believed() {
    let server = start(Transport::default()).await;
    let mut raw = begin(&server, b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 7788\r\n").await;
    assert_eq!(raw.frame().await["action"], "welcome");
    assert_eq!(raw.frame().await["data"]["status"], 3);
    assert!(raw.try_frame().await.is_none());
}

#[tokio::test]
async fn a_proxy_that_tells_nothing_is_not_waited_for() {
    let mut transport = behind_proxy();
    transport.handshake_time = Duration::from_millis(500);
    let server = start(transport).await;
    for bytes in [
        b"".as_slice(),
        b"PROXY",
        b"{\"action\":\"auth\",\"data\":{}}",
    ] {
        let mut raw = begin(&server, bytes).await;
        let mut nothing = Vec::new();
        let ended = timeout(SOON, raw.stream.read_to_end(&mut nothing)).await;
        // Either way of closing is one.
        let _ = ended.expect("the server closes");
        assert_eq!(nothing, b"");
    }
    // One that tells that it does not know is heard.
    let server = start(behind_proxy()).await;
    let mut raw = begin(&server, b"PROXY UNKNOWN\r\n").await;
    assert_eq!(raw.frame().await["action"], "welcome");
}

/// The beginning of a message with a large attachment.
fn half_a_frame(to: &str, length: usize) -> String {
    let mut frame =
        format!(r#"{{"action":"message","data":{{"uid":"{to}","attach":{{"mime":"x","data":""#);
    frame.push_str(&"A".repeat(length));
    frame
}

#[tokio::test]
async fn half_sent_frames_of_all_clients_share_one_budget() {
    let mut transport = Transport::default();
    transport.partial_frames = 48 * MIB;
    let server = start(transport).await;
    let mut holders = Vec::new();
    for number in 0..5 {
        let (mut raw, _) = server.log_in(&format!("holder{number}")).await;
        // As much as is taken: the later ones have to wait until the first stand still.
        let frame = half_a_frame("ann", 15 * MIB);
        holders.push(tokio::spawn(async move {
            raw.stream.write_all(frame.as_bytes()).await.ok();
            raw
        }));
    }
    let (mut ann, _) = server.log_in("ann").await;
    for _ in 0..3 {
        ann.send(&half_a_frame("ann", 10 * MIB)).await;
        ann.send(r#""}}}"#).await;
        assert_eq!(ann.frame().await["data"]["status"], 0);
        assert_eq!(ann.frame().await["action"], "ev_message");
    }
    // Those that had to give way were told so.
    let mut told = 0;
    for holder in holders {
        let mut raw = holder.await.unwrap();
        let first = timeout(Duration::from_millis(100), raw.frame()).await;
        if let Ok(frame) = first {
            assert_eq!(frame["data"]["status"], 20);
            assert!(raw.try_frame().await.is_none());
            told += 1;
        }
    }
    assert!(told >= 2, "only {told}");
}

#[tokio::test]
async fn small_half_sent_frames_share_it_too() {
    let mut transport = Transport::default();
    transport.partial_frames = 100 * 1024;
    transport.driver.frame = 64 * 1024;
    let server = start(transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    let mut first = server.connect().await;
    first.send(&half_a_frame("ann", 15_000)).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut raw = server.connect().await;
        raw.send(&half_a_frame("ann", 15_000)).await;
        others.push(raw);
    }
    assert_eq!(first.frame().await["data"]["status"], 20);
    assert!(first.try_frame().await.is_none());
    ann.probe().await;
    // Given back: as many as fit at once can send theirs to the end.
    drop(others);
    for _ in 0..50 {
        ann.send(&half_a_frame("ann", 15_000)).await;
        ann.send(r#""}}}"#).await;
        assert_eq!(ann.frame().await["data"]["status"], 0);
        assert_eq!(ann.frame().await["action"], "ev_message");
    }
}

#[tokio::test]
async fn frames_that_wait_for_their_own_client_share_it_too() {
    let mut transport = Transport::default();
    transport.partial_frames = 48 * MIB;
    let server = start(transport).await;
    let (mut away, _) = server.log_in("away").await;
    let auth = r#"{"login":"away","pass":"secret","features":["ack"]}"#;
    away.send(&format!(r#"{{"action":"auth","data":{auth}}}"#))
        .await;
    let accepted = away.frame().await;
    let sid = accepted["data"]["sid"].as_str().unwrap();
    drop(away);
    let (mut ann, _) = server.log_in("ann").await;
    let body = "x".repeat(1000);
    for _ in 0..256 {
        ann.send(&format!(
            r#"{{"action":"message","data":{{"uid":"away","body":"{body}"}}}}"#
        ))
        .await;
        assert_eq!(ann.frame().await["data"]["status"], 0);
        assert_eq!(ann.frame().await["action"], "ev_message");
    }
    // Each is given what waits, takes nothing of it, and asks at length, which comes behind that.
    let long = "A".repeat(15 * MIB);
    let mut holders = Vec::new();
    for _ in 0..8 {
        let (mut client, stream) = duplex(16 * 1024);
        tokio::spawn(server.server.connection(stream));
        let resume = format!(r#"{{"action":"contactlist","data":{{"cid":"away","sid":"{sid}"}}}}"#);
        let frame = resume + &format!(r#"{{"action":"contactlist","data":{{"x":"{long}"}}}}"#);
        holders.push(tokio::spawn(async move {
            client.write_all(frame.as_bytes()).await.ok();
            client
        }));
    }
    // For as many as there is room for, the server has read it all; the others are not read on.
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    let mut sent = Vec::new();
    for sending in &mut holders {
        sent.extend(timeout_at(until, sending).await);
    }
    assert!((1..=3).contains(&sent.len()), "{} were held", sent.len());
}

/// Sets a picture of so many bytes, by which an import of `entries` entries brings as many times that.
async fn show_a_picture(raw: &mut Raw, length: usize) {
    let picture = "A".repeat(length);
    let data = format!(r#"{{"email":"seen@example.org","picture":"{picture}"}}"#);
    raw.send(&format!(r#"{{"action":"setuserinfo","data":{data}}}"#))
        .await;
    assert_eq!(raw.frame().await["data"]["status"], 0);
}

fn import_of(entries: usize) -> String {
    let entry = r#"{"myid":"1","name":"x","phone":"","email":"seen@example.org"}"#;
    let entries = vec![entry; entries].join(",");
    format!(r#"{{"action":"import","data":{{"contacts":[{entries}]}}}}"#)
}

#[tokio::test]
async fn a_list_that_is_asked_for_right_behind_a_log_in_is_given() {
    // Until it has told what waits for the client, that is on its way.
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    storage.set_delay(Duration::from_millis(20));
    let server = TestServer::limited(Arc::new(storage), Policy::default(), Transport::default());
    let server = server.await;
    let (ann, _) = server.log_in("ann").await;
    drop(ann);
    let mut ann = server.connect().await;
    let auth = r#"{"action":"auth","data":{"login":"ann","pass":"secret"}}"#;
    ann.send(&(auth.to_owned() + &import_of(3))).await;
    assert_eq!(ann.frame().await["action"], "auth");
    let list = ann.frame().await;
    assert_eq!(list["data"]["status"], 0, "{list}");
}

#[tokio::test]
async fn lists_that_nobody_takes_share_one_budget() {
    let mut policy = Policy::default();
    policy.limits.list_bytes = 8 * MIB;
    let mut transport = Transport::default();
    transport.outgoing = 24 * MIB;
    let server = TestServer::start(policy, transport).await;
    let (mut ann, _) = server.log_in("ann").await;
    show_a_picture(&mut ann, 60_000).await;
    // Each asks for 6 MB, and takes nothing of it.
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let (mut raw, _) = server.log_in("greedy").await;
        raw.send(&import_of(100)).await;
        greedy.push(raw);
    }
    // Messages pass, and a list is served: those that take nothing give way.
    let (mut bob, _) = server.log_in("bob").await;
    for _ in 0..3 {
        bob.send(r#"{"action":"message","data":{"uid":"bob","body":"x"}}"#)
            .await;
        assert_eq!(bob.frame().await["data"]["status"], 0);
        assert_eq!(bob.frame().await["action"], "ev_message");
        bob.send(&import_of(100)).await;
        let list = bob.frame().await;
        assert_eq!(list["data"]["list"].as_array().unwrap().len(), 100);
    }
    // Those were cut, in the middle of their lists.
    let mut cut = 0;
    for mut raw in greedy {
        let mut received = Vec::new();
        while !received.ends_with(b"]}}") {
            let read = timeout(SOON, raw.stream.read_buf(&mut received)).await;
            // Either way of closing is one.
            if matches!(read.unwrap(), Ok(0) | Err(_)) {
                cut += 1;
                break;
            }
        }
    }
    assert!(cut > 0, "they held more than there is");
}

#[tokio::test]
async fn whoever_sends_more_than_it_may_is_read_slowly() {
    let mut policy = Policy::default();
    let mut rates = Rates::default();
    rates.messages = Rate::new(1, Duration::from_secs(60 * 60));
    policy.rates = Some(rates);
    let storage = Arc::new(MemoryStorage::new());
    let server = TestServer::limited(storage, policy, Transport::default()).await;
    let (mut ann, _) = server.log_in("ann").await;
    let message = r#"{"action":"message","data":{"uid":"ann","body":"x"}}"#;
    ann.send(message).await;
    assert_eq!(ann.frame().await["data"]["status"], 0);
    assert_eq!(ann.frame().await["action"], "ev_message");
    let began = Instant::now();
    ann.send(&message.repeat(31)).await;
    for _ in 0..31 {
        assert_eq!(ann.frame().await["data"]["status"], 20);
    }
    // Ten milliseconds between each and the next.
    assert!(began.elapsed() >= Duration::from_millis(300));
    ann.probe().await;
}

#[tokio::test]
async fn what_follows_a_long_list_comes_behind_it() {
    let server = TestServer::start(Policy::default(), Transport::default()).await;
    let (mut ann, _) = server.log_in("ann").await;
    show_a_picture(&mut ann, 60_000).await;
    let (mut bob, _) = server.log_in("bob").await;
    // Three lists, one after the other, and what was asked for behind each.
    for round in 0..3 {
        bob.send(&import_of(50 * round)).await;
        bob.send(r#"{"action":"message","data":{"uid":"bob","body":"x"}}"#)
            .await;
        bob.send(r#"{"action":"userinfo","data":{"user":"ann"}}"#)
            .await;
    }
    let mut arrived = Vec::new();
    while arrived.len() < 12 {
        let frame = bob.frame().await;
        if frame["action"] == "import" {
            let list = frame["data"]["list"].as_array().unwrap();
            assert!(
                list.iter()
                    .all(|one| one["picture"].as_str().unwrap().len() == 60_000)
            );
            arrived.push(list.len().to_string());
        } else {
            arrived.push(frame["action"].as_str().unwrap().to_owned());
        }
    }
    arrived.retain(|name| name != "ev_message");
    let wanted = ["0", "50", "100"].map(|list| [list, "message", "userinfo"]);
    assert_eq!(arrived, wanted.concat());
}

#[tokio::test]
async fn an_embedders_own_connections_count_too() {
    let mut transport = Transport::default();
    transport.connections = 2;
    let server = start(transport).await;
    let own = || {
        let (client, stream) = duplex(4096);
        (client, tokio::spawn(server.server.connection(stream)))
    };
    let _over_tcp = server.connect().await;
    let (mut first, served) = own();
    assert_eq!(first.read_u8().await.unwrap(), b'{');

    let (mut one_too_many, turned_away) = own();
    assert_eq!(one_too_many.read(&mut [0; 1]).await.unwrap(), 0);
    timeout(SOON, turned_away).await.unwrap().unwrap();
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap(), 0);

    drop(first);
    timeout(SOON, served).await.unwrap().unwrap();
    server.connect().await.probe().await;
}
