//! The load tool counts what arrives, of a server, of its own relay and of NATS.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::Engine;
use messenger_server::websocket::Origins;
use messenger_server::{Server, Transport};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use testing_servers::Nats;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

/// What has happened is seen until then.
const SOON: Duration = Duration::from_secs(20);

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

/// The same, which also listens for WebSocket; both addresses.
async fn serve_both() -> (String, String) {
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
    addresses
}

#[tokio::test]
async fn a_server_is_measured_over_websocket() {
    let (tcp, ws) = serve_both().await;
    let over = ["--ws", &*ws];
    assert_all_arrived(&measure(&tcp, &[&over[..], &PAIRS].concat()).await);
    let large = ["attach", "--size", "300000", "--seconds", "1"];
    assert_all_arrived(&measure(&tcp, &[&over[..], &large].concat()).await);
}

/// Passes connections over WebSocket on, each with a ping behind the upgrade; how many of these were answered.
async fn ask_each(listener: TcpListener, server: String, answered: watch::Sender<usize>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, answered) = (server.clone(), answered.clone());
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let server = TcpStream::connect(server).await.unwrap();
            let (mut from_server, mut to_server) = server.into_split();
            let ask = async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(from_server.read_u8().await?);
                }
                to_client.write_all(&head).await?;
                to_client.write_all(b"\x89\x05there").await?;
                tokio::io::copy(&mut from_server, &mut to_client).await
            };
            let listen = async move {
                // The mask changes nothing.
                let pong = b"\x8a\x85\0\0\0\0there";
                let mut said = Vec::new();
                while !said.ends_with(pong) {
                    let byte = from_client.read_u8().await?;
                    to_server.write_u8(byte).await?;
                    said.push(byte);
                }
                answered.send_modify(|answered| *answered += 1);
                tokio::io::copy(&mut from_client, &mut to_server).await
            };
            // Either fails when the connection ends.
            let _ = tokio::join!(ask, listen);
        });
    }
}

#[tokio::test]
async fn pings_are_answered() {
    let (tcp, ws) = serve_both().await;
    let asking = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = asking.local_addr().unwrap().to_string();
    let (answered, mut answers) = watch::channel(0);
    tokio::spawn(ask_each(asking, ws, answered));
    assert_all_arrived(&measure(&tcp, &[&["--ws", &*address], &PAIRS[..]].concat()).await);
    // Two senders and two recipients.
    let all = answers.wait_for(|answers| *answers == 4);
    timeout(SOON, all).await.unwrap().unwrap();
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
