//! What an operator's tools see. One server in this process, as that has one recorder of metrics; the others are
//! processes of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_core::authenticator::Identity;
use messenger_core::notifier::{Mailbox, Notice, Notifier, NotifierError, Subscription};
use messenger_core::proto::{SendMessage, UserId};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_core::{Engine, Policy, SessionKind};
use messenger_server::{Monitoring, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use support::http::{ask, get};
use support::process::Process;
use support::{SOON, TestServer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The metrics that a document names, but for those of certificates, of a database and of NATS: there are none here. (A
/// line of the log has the name of a crate in it.)
fn names(document: &str) -> impl Iterator<Item = &str> {
    let words = document.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    words.filter(|word| {
        (word.starts_with("messenger_") || word.starts_with("process_"))
            && !word.starts_with("messenger_certificate")
            && !word.starts_with("messenger_postgres_")
            && !word.starts_with("messenger_notifier_")
            && *word != "messenger_notices_dropped_total"
            && *word != "messenger_core"
    })
}

/// Waits until the metrics have this line.
async fn shows(address: SocketAddr, line: &str) {
    let shown = async {
        while !get(address, "/metrics")
            .await
            .1
            .lines()
            .any(|own| own == line)
        {
            tokio::task::yield_now().await;
        }
    };
    if timeout(SOON, shown).await.is_err() {
        panic!("no {line} in {}", get(address, "/metrics").await.1);
    }
}

/// Sends as many messages as this to somebody with two devices, of which one is away.
async fn push_out(engine: &Engine, messages: usize) {
    let join = async |user: &str| {
        let connected = engine.connect_as(user.into(), Identity::new("x"), SessionKind::Lasting);
        connected.await.unwrap()
    };
    drop(join("max").await);
    let (mut max, sender) = (join("max").await, join("eve").await);
    for _ in 0..messages {
        sender.call(SendMessage::new("max", "x")).await.unwrap();
        max.next_message().await.unwrap();
        // The event before this one counts as delivered.
        engine.run_maintenance().await.unwrap();
    }
}

/// Tells nobody anything.
struct Deaf;

impl Notifier for Deaf {
    fn subscribe(&self, _: &UserId, mailbox: Mailbox) -> Subscription {
        Subscription::new(mailbox)
    }

    fn notify(&self, _: &UserId, _: Notice) {}

    fn check(&self) -> Result<(), NotifierError> {
        Err(NotifierError::new("it tells nobody anything"))
    }
}

#[tokio::test]
async fn metrics_and_health_are_told() {
    let monitoring = Monitoring::install().unwrap();
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    let mut transport = Transport::default();
    transport.connections = 3;
    let mut policy = Policy::default();
    policy.limits.inbox.messages = 10;
    let server = TestServer::limited(Arc::new(storage.clone()), policy, transport).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = CancellationToken::new();
    let engine = server.server.engine().clone();
    let of_deaf = monitoring.clone();
    tokio::spawn(monitoring.serve(listener, engine, stopping.clone().cancelled_owned()));

    // What has not happened yet is told, or its first time would look like none.
    let (_, page) = get(address, "/metrics").await;
    for line in [
        r#"messenger_requests_total{action="message",status="0"} 0"#,
        r#"messenger_requests_total{action="auth",status="2"} 0"#,
        r#"messenger_requests_total{action="unknown",status="3"} 0"#,
        r#"messenger_limits_total{limit="failed_auth_login"} 0"#,
        r#"messenger_log_lines_dropped_total{why="repeated"} 0"#,
        "messenger_handshakes_failed_total 0",
        "messenger_messages_accepted_total 0",
    ] {
        assert!(page.lines().any(|own| own == line), "{line}: {page}");
    }
    let version = format!(
        r#"messenger_build_info{{version="{}","#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(page.contains(&version), "{page}");

    let (mut ann, _) = server.log_in("ann").await;
    let (mut bob, _) = server.log_in("bob").await;
    for _ in 0..3 {
        ann.send(r#"{"action":"message","data":{"uid":"bob","body":"a secret"}}"#)
            .await;
        ann.frame().await;
        ann.frame().await;
        assert_eq!(bob.frame().await["action"], "ev_message");
    }
    // What was answered is told at the first asking.
    let (_, told) = get(address, "/metrics").await;
    assert!(
        told.contains("messenger_messages_accepted_total 3"),
        "{told}"
    );
    ann.send(r#"{"action":"message","data":{"uid":"nobody","body":"x"}}"#)
        .await;
    ann.frame().await;
    ann.send(r#"{"action":"dance","data":{}}"#).await;
    ann.frame().await;
    let mut eve = server.connect().await;
    eve.send(&format!(r#"{{"action":"{}"}}"#, "x".repeat(20_000)))
        .await;
    eve.frame().await;
    for line in [
        "messenger_connections 3",
        "messenger_sessions 2",
        r#"messenger_connections_total{over="tcp"} 3"#,
        r#"messenger_requests_total{action="message",status="0"} 3"#,
        r#"messenger_requests_total{action="message",status="8"} 1"#,
        r#"messenger_requests_total{action="other",status="3"} 1"#,
        r#"messenger_requests_total{action="auth",status="0"} 2"#,
        "messenger_messages_accepted_total 3",
        "messenger_messages_delivered_total 3",
        "messenger_delivery_seconds_count 3",
        "messenger_outgoing_bytes 0",
        "messenger_partial_frame_bytes 0",
        r#"messenger_store_seconds_count{call="append"} 4"#,
        r#"messenger_limits_total{limit="max_frame"} 1"#,
    ] {
        shows(address, line).await;
    }
    let mut turned_away = TcpStream::connect(server.address).await.unwrap();
    let mut nothing = Vec::new();
    turned_away.read_to_end(&mut nothing).await.unwrap();
    shows(
        address,
        r#"messenger_limits_total{limit="max_connections"} 1"#,
    )
    .await;
    for _ in 0..6 {
        bob.send(r#"{"action":"auth","data":{"login":"ann","pass":"wrong"}}"#)
            .await;
        bob.frame().await;
    }
    shows(
        address,
        r#"messenger_limits_total{limit="failed_auth_login"} 1"#,
    )
    .await;
    push_out(server.server.engine(), 12).await;
    shows(address, "messenger_messages_dropped_total 2").await;
    drop((ann, bob, eve));
    shows(address, "messenger_connections 0").await;
    shows(address, "messenger_sessions 0").await;
    let (_, page) = get(address, "/metrics").await;
    assert!(!page.contains("secret") && !page.contains("ann"), "{page}");

    for document in [
        include_str!("../../docs/monitoring.md"),
        include_str!("../../docs/grafana-dashboard.json"),
    ] {
        for name in names(document) {
            assert!(page.contains(&format!("\n{name}")), "{name} is not told");
        }
    }

    assert_eq!(get(address, "/healthz").await, (200, "alive\n".to_owned()));
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));
    storage.set_failing(true);
    let (status, parts) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    let mut parts = parts.lines();
    assert_eq!(parts.next(), Some("not ready"));
    let store = parts.next().unwrap();
    assert!(store.starts_with("the store failed: "), "{store}");
    assert_eq!(parts.next(), None);
    storage.set_failing(false);
    assert_eq!(get(address, "/readyz").await.0, 200);
    let deaf = Engine::builder().notifier(Arc::new(Deaf)).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let its = listener.local_addr().unwrap();
    tokio::spawn(of_deaf.serve(listener, deaf, stopping.clone().cancelled_owned()));
    let (status, parts) = get(its, "/readyz").await;
    assert_eq!(status, 200, "messages come all the same");
    let expected = "ready\nthe notifier fails: it tells nobody anything\n";
    assert_eq!(parts, expected);
    stopping.cancel();
    assert_eq!(get(address, "/readyz").await.0, 503);
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/nothing").await.0, 404);
    let (head, _) = ask(address, "POST", "/metrics").await;
    assert!(
        head.contains(" 405 ") && head.contains("allow: GET, HEAD"),
        "{head}"
    );
}

#[tokio::test]
async fn silent_connections_keep_nobody_from_an_answer() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--metrics-listen", "127.0.0.1:0"]);
    let server = Process::spawn(command).await;
    let address = server.address_behind("metrics are told").await;
    let address = address.parse().unwrap();
    let mut silent = Vec::new();
    for path in ["/healthz", "/readyz", "/metrics"] {
        for _ in 0..100 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(get(address, path).await.0, 200);
    }
    // Each is an open file, of which few are kept for them.
    let (_, page) = get(address, "/metrics").await;
    let (_, files) = page.split_once("\nprocess_open_fds ").unwrap();
    let files: u32 = files.lines().next().unwrap().parse().unwrap();
    assert!(files < 150, "{files} open files");
    // They do not stay for long either: those that were not cut for newer ones are when they ask nothing.
    for mut stream in silent {
        let ended = timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
        // Either way of closing is one.
        let _ = ended.expect("the server closes");
    }
}
