//! The server is told to stop: what it has received is answered, and whoever has nothing under way does
//! not hold it up.

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
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::certificate::Files;
use support::process::{Process, flags};
use support::{Raw, SOON, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a stop may take when nothing is under way.
const AT_ONCE: Duration = Duration::from_secs(1);

const REQUEST: &str = r#"{"action":"contactlist","data":{}}"#;
const HALF: &str = r#"{"action":"message","data":{"uid":"ann","body":"half"#;

#[tokio::test]
async fn nobody_who_has_nothing_under_way_holds_a_stop_up() {
    let files = Files::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--tls-listen", "127.0.0.1:0", "--tls-cert"])
        .arg(files.certificates())
        .arg("--tls-key")
        .arg(files.key());
    let server = Process::spawn(command).await;
    let tls = server.address_behind("listening for TLS").await;
    let connect = async || TcpStream::connect(&server.address).await.unwrap();
    let welcomed = async || {
        let mut raw = Raw::new(connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        raw
    };

    let mut idle = welcomed().await;
    idle.log_in("ann").await;
    let mut half = welcomed().await;
    half.log_in("bob").await;
    // In one piece: when the request is answered, the half behind it was read.
    half.send(&[REQUEST, HALF].concat()).await;
    assert_eq!(half.frame().await["action"], "contactlist");
    let mut over_tls = files.connect(&tls).await.unwrap();
    assert_eq!(over_tls.read_u8().await.unwrap(), b'{');
    let _in_its_handshake = TcpStream::connect(&tls).await.unwrap();
    let not_reading = connect().await;
    not_reading.readable().await.unwrap();
    let mut refused = welcomed().await;
    refused.send("nonsense").await;
    assert_eq!(refused.frame().await["data"]["status"], 3);

    let told = Instant::now();
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));
    let took = told.elapsed();
    assert!(took < AT_ONCE, "took {took:?}");
    // In good order: an end, not a reset.
    assert_eq!(idle.try_frame().await, None);
    assert_eq!(half.try_frame().await, None);
}

/// A server whose store can be told to wait.
async fn start_held() -> (TestServer, FaultyStorage) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let shared = Arc::new(storage.clone());
    let server = TestServer::start_on(shared, Policy::default(), Transport::default()).await;
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
}

#[tokio::test]
async fn what_is_under_way_is_answered_while_the_others_are_closed() {
    let (server, storage) = start_held().await;
    let (mut idle, _) = server.log_in("bob").await;
    let (mut ann, _) = server.log_in("ann").await;
    storage.hold_appends();
    let message = r#"{"action":"message","data":{"uid":"bob","body":"the last words"}}"#;
    ann.send(&[message, HALF].concat()).await;
    held(&storage, 1).await;
    server.server.stop();
    assert_eq!(idle.try_frame().await, None);
    // Its peer is there, and would have been closed with the others.
    assert!(ann.stream.try_read(&mut [0; 1]).is_err());
    storage.release(1);
    let answered = Instant::now();
    let reply = ann.frame().await;
    assert_eq!(
        (&reply["action"], &reply["data"]["status"]),
        (&"message".into(), &0.into())
    );
    assert_eq!(ann.frame().await["action"], "ev_message", "the copy");
    assert_eq!(ann.try_frame().await, None);
    assert_eq!(server.stopped().await.cut, 0);
    assert!(answered.elapsed() < AT_ONCE);
}

/// Many answers at once use up what the runtime lets a task do before others; that there is more to read
/// is not known then.
#[tokio::test]
async fn a_burst_that_has_come_is_answered_to_its_end() {
    const BURST: usize = 450;
    let (server, storage) = start_held().await;
    server.log_in("ann").await.0.probe().await;
    let (mut client, stream) = duplex(4 * 1024 * 1024);
    tokio::spawn(server.server.connection(stream));
    storage.hold_appends();
    let body = "x".repeat(2000);
    let message = format!(r#"{{"action":"message","data":{{"uid":"ann","body":"{body}"}}}}"#);
    let auth = r#"{"action":"auth","data":{"login":"ann","pass":"secret"}}"#;
    let all = [auth, &message.repeat(BURST)].concat();
    client.write_all(all.as_bytes()).await.unwrap();
    held(&storage, Transport::default().driver.overlapping).await;
    server.server.stop();
    storage.release(BURST);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    let accepted = received.matches(r#"{"action":"message","data":{"status":0"#);
    assert_eq!(accepted.count(), BURST);
}

/// Pieces of a large frame are gathered for a moment before they are read. A stop does not take them for
/// the half of a frame meanwhile.
#[tokio::test(start_paused = true)]
async fn a_large_frame_that_has_come_whole_is_answered() {
    let mut transport = Transport::default();
    transport.driver.frame_before_auth = 1024 * 1024;
    let server = TestServer::start(Policy::default(), transport).await;
    let (mut client, stream) = duplex(1024 * 1024);
    tokio::spawn(server.server.connection(stream));
    let frame = format!(
        r#"{{"action":"contactlist","data":{{"x":"{}"}}}}"#,
        "x".repeat(100_000)
    );
    // Nothing waits, so that no time passes.
    for piece in frame.as_bytes().chunks(10_000) {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    server.server.stop();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(received.contains(r#""status":6"#), "{received}");
}

/// A connection that the embedder has accepted itself, with a message under way in the store.
async fn own_connection_that_waits(server: &TestServer, storage: &FaultyStorage) -> DuplexStream {
    server.log_in("ann").await.0.probe().await;
    storage.hold_appends();
    let (mut client, stream) = duplex(64 * 1024);
    tokio::spawn(server.server.connection(stream));
    let auth = r#"{"action":"auth","data":{"login":"ann","pass":"secret"}}"#;
    let message = r#"{"action":"message","data":{"uid":"ann","body":"the last words"}}"#;
    let both = [auth, message].concat();
    client.write_all(both.as_bytes()).await.unwrap();
    held(storage, 1).await;
    client
}

#[tokio::test]
async fn an_embedders_own_connections_are_waited_for() {
    let (server, storage) = start_held().await;
    let mut client = own_connection_that_waits(&server, &storage).await;
    let mut drain = pin!(server.server.drain());
    assert!(futures_util::poll!(&mut drain).is_pending());
    storage.release(1);
    assert_eq!(timeout(SOON, drain).await.unwrap().cut, 0);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(
        received.contains(r#"{"action":"message","data":{"status":0"#),
        "{received}"
    );
}

#[tokio::test]
async fn an_embedders_own_connections_are_cut_when_their_time_is_up() {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let mut transport = Transport::default();
    transport.drain = Duration::from_millis(50);
    let shared = Arc::new(storage.clone());
    let server = TestServer::start_on(shared, Policy::default(), transport).await;
    let mut client = own_connection_that_waits(&server, &storage).await;
    let drained = timeout(SOON, server.server.drain()).await.unwrap();
    assert_eq!(drained.cut, 1);
    // Nobody answers any more.
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(!received.contains(r#""action":"message""#), "{received}");
}

/// What it has begun by then, such as a store, is not left half made.
#[tokio::test]
async fn one_that_is_told_to_stop_while_it_starts_ends_in_good_order() {
    let files = Files::new();
    let key = std::fs::read(files.key()).unwrap();
    std::fs::remove_file(files.key()).unwrap();
    let make = Command::new("mkfifo").arg(files.key()).status().await;
    assert!(make.unwrap().success());
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_messenger-server"))
        .args(flags(&folder.path().join("m.db")))
        .args(["--tls-listen", "127.0.0.1:0", "--tls-cert"])
        .arg(files.certificates())
        .arg("--tls-key")
        .arg(files.key())
        .env("MESSENGER_METRICS_LISTEN", "off")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // It starts by reading the key, and can be written to from then on.
    let starting = async {
        loop {
            match pipe::OpenOptions::new().open_sender(files.key()) {
                Ok(pipe) => break pipe,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let mut pipe = timeout(SOON, starting).await.unwrap();
    let id = child.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(told.unwrap().success());
    // When it looks again, it is a file.
    std::fs::remove_file(files.key()).unwrap();
    std::fs::write(files.key(), &key).unwrap();
    pipe.write_all(&key).await.unwrap();
    drop(pipe);
    let ended = timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(!folder.path().join("m.db-journal").exists());
}
