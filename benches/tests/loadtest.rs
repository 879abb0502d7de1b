//! The load tool counts what arrives, of a server, of its own relay and of NATS.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::Engine;
use messenger_server::websocket::Origins;
use messenger_server::{Server, Transport};
use serde_json::Value;
use std::process::Stdio;
use testing_servers::Nats;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

/// What the tool tells of whoever listens there.
async fn measure(address: &str, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["--server", address, "--json"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output();
    serde_json::from_slice(&output.await.unwrap().stdout).unwrap()
}

fn assert_all_arrived(figures: &Value) {
    assert!(figures["messages_a_second"].as_f64().unwrap() > 0.0);
    assert!(figures["p99_us"].as_f64().unwrap() > 0.0);
    assert_eq!(figures["lost"], 0.0);
    assert_eq!(figures["out_of_order"], 0.0);
}

/// A server without rate limits; its passwords cost next to nothing.
async fn serve() -> String {
    let engine = Engine::builder().policy(benches::unlimited());
    let engine = engine.build().unwrap();
    let server = Server::new(engine, Transport::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}

/// Small pairs for a short time.
const PAIRS: [&str; 7] = ["pairs", "--pairs", "2", "--window", "4", "--seconds", "1"];

#[tokio::test]
async fn a_server_is_measured() {
    let address = serve().await;
    assert_all_arrived(&measure(&address, &PAIRS).await);
    let open = ["open", "--rate", "200", "--pairs", "2", "--seconds", "1"];
    let figures = measure(&address, &open).await;
    assert_all_arrived(&figures);
    let rate = figures["messages_a_second"].as_f64().unwrap();
    assert!((100.0..300.0).contains(&rate), "{rate} and not 200");
    let fanout = ["fanout", "--devices", "3", "--seconds", "1"];
    assert_all_arrived(&measure(&address, &fanout).await);
}

#[tokio::test]
async fn a_server_is_measured_over_websocket() {
    let engine = Engine::builder().policy(benches::unlimited());
    let server = Server::new(engine.build().unwrap(), Transport::default());
    let [tcp, ws] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0"));
    let (tcp, ws) = (tcp.await.unwrap(), ws.await.unwrap());
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let addresses = (address(&tcp), address(&ws));
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(tcp, std::future::pending()).await });
    tokio::spawn(async move {
        let forever = std::future::pending();
        server
            .serve_websocket(ws, None, Origins::SameHost, forever)
            .await
    });
    let over = ["--ws", &*addresses.1];
    assert_all_arrived(&measure(&addresses.0, &[&over[..], &PAIRS].concat()).await);
    let large = ["attach", "--size", "300000", "--seconds", "1"];
    assert_all_arrived(&measure(&addresses.0, &[&over[..], &large].concat()).await);
}

#[tokio::test]
async fn honest_clients_are_measured_beside_a_flood() {
    let address = serve().await;
    let flood = ["flood", "imports", "--clients", "2", "--seconds", "1"];
    let honest = ["--rate", "100", "--pairs", "2"];
    let figures = measure(&address, &[&flood[..], &honest].concat()).await;
    assert_eq!(figures["lost"], 0.0);
    for name in ["quiet_p99_us", "flooded_p99_us", "p99_times"] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}");
    }
}

#[tokio::test]
async fn attachments_in_pieces_arrive_whole() {
    let address = serve().await;
    let attach = [
        "attach", "--size", "300000", "--piece", "1400", "--window", "20",
    ];
    let figures = measure(&address, &[&attach[..], &["--seconds", "1"]].concat()).await;
    assert_all_arrived(&figures);
    assert!(figures["mib_a_second"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn whoever_comes_back_is_counted() {
    let address = serve().await;
    let own = std::process::id().to_string();
    let pid = ["--server-pid", &*own];
    let idle = [&["idle", "--connections", "50"], &pid[..]].concat();
    assert_eq!(measure(&address, &idle).await["connections"], 50.0);
    for by in ["resume", "password"] {
        let figures = measure(&address, &["storm", "--clients", "30", "--by", by]).await;
        assert!(figures["connections_a_second"].as_f64().unwrap() > 0.0);
    }
    let figures = measure(&address, &["backlog", "--messages", "500"]).await;
    assert_eq!(figures["out_of_order"], 0.0);
    let figures = measure(&address, &["roster", "--entries", "10", "--seconds", "1"]).await;
    assert!(figures["lists_a_second"].as_f64().unwrap() > 0.0);
    assert!(figures["imports_a_second"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_crowd_is_stood_beside() {
    let crowd = [
        "crowd",
        "--accounts",
        "100",
        "--connections",
        "10",
        "--rounds",
        "1",
    ];
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("crowd.svg");
    let svg = ["--svg", picture.to_str().unwrap()];
    let figures = measure("127.0.0.1:1", &[&crowd[..], &PAIRS, &svg].concat()).await;
    assert_all_arrived(&figures["rounds"][0]["server"]);
    assert_all_arrived(&figures["rounds"][0]["other"]);
    let drawn = std::fs::read_to_string(picture).unwrap();
    assert!(
        drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"),
        "{drawn}"
    );
    for text in [
        "p99, server",
        "p99, other",
        "server divided by other",
        "messages a second",
    ] {
        assert!(drawn.contains(&format!(">{text}<")), "{text}: {drawn}");
    }
    assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
}

#[tokio::test]
async fn a_relay_is_measured() {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("relay")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(relay.stderr.take().unwrap()).lines();
    let line = log.next_line().await.unwrap().unwrap();
    let (_, address) = line.split_once("address=").unwrap();
    assert_all_arrived(&measure(address, &[&["--is-relay"], &PAIRS[..]].concat()).await);
}

#[tokio::test]
async fn nats_is_measured() {
    let nats = Nats::start(&[]);
    let address = format!("127.0.0.1:{}", nats.port());
    let is_nats = ["--is-nats"];
    assert_all_arrived(&measure(&address, &[&is_nats[..], &PAIRS].concat()).await);
    let open = ["open", "--rate", "200", "--pairs", "2", "--seconds", "1"];
    assert_all_arrived(&measure(&address, &[&is_nats[..], &open].concat()).await);
    let large = [
        "attach",
        "--size",
        "300000",
        "--piece",
        "1400",
        "--seconds",
        "1",
    ];
    assert_all_arrived(&measure(&address, &[&is_nats[..], &large].concat()).await);
}
