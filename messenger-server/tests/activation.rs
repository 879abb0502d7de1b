//! Sockets that a service manager passes: a restart refuses nobody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use support::Raw;
use support::certificate::Files;
use support::process::{Process, flags};
use support::websocket::WebSocket;
use tokio::net::TcpStream;
use tokio::process::Command;

/// What a service manager does: it passes descriptors from 3 on, and says for whom. They come here as the standard input and
/// output.
const PASS: &str = r#"exec 3<&0 4<&1 </dev/null >/dev/null
export LISTEN_PID=$$ LISTEN_FDS="$0"
exec "$@""#;

/// A socket that is listened on, as the service manager keeps it.
fn socket() -> (TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn passed(socket: &TcpListener) -> Stdio {
    OwnedFd::from(socket.try_clone().unwrap()).into()
}

/// The binary with so many of these sockets.
fn command(store: &Path, count: usize, sockets: [&TcpListener; 2]) -> Command {
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_messenger-server");
    command.args(["-c", PASS, &count.to_string(), binary]);
    command.args(flags(store));
    let [first, second] = sockets.map(passed);
    command.stdin(first).stdout(second);
    command
}

#[tokio::test]
async fn who_connects_while_no_server_is_there_is_served_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messenger.db");
    let (socket, address) = socket();
    let process = Process::spawn(command(&store, 1, [&socket, &socket])).await;
    assert_eq!(process.address, address, "not that of --listen");
    let mut raw = Raw::new(TcpStream::connect(&address).await.unwrap());
    raw.frame().await;
    let sid = raw.log_in("ann").await;
    process.signal("TERM").await;
    assert_eq!(process.ended().await, Some(0));
    assert_eq!(raw.try_frame().await, None);

    let mut raw = Raw::new(TcpStream::connect(&address).await.expect("not refused"));
    let data = format!(r#"{{"cid":"ann","sid":"{sid}"}}"#);
    raw.send(&format!(r#"{{"action":"contactlist","data":{data}}}"#))
        .await;
    let process = Process::spawn(command(&store, 1, [&socket, &socket])).await;
    assert_eq!(process.address, address);
    assert_eq!(raw.frame().await["action"], "welcome");
    assert_eq!(raw.frame().await["data"]["status"], 0);
}

#[tokio::test]
async fn the_second_socket_is_for_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new();
    let [(first, plain), (second, over_tls)] = [socket(), socket()];
    let mut command = command(&folder.path().join("messenger.db"), 2, [&first, &second]);
    command.args(["--tls-listen", "127.0.0.1:0"]);
    command.arg("--tls-cert").arg(files.certificates());
    command.arg("--tls-key").arg(files.key());
    let process = Process::spawn(command).await;
    assert_eq!(process.address, plain);
    // Welcomed.
    files.client(&over_tls).await;
}

#[tokio::test]
async fn without_tls_it_is_for_websocket() {
    let folder = tempfile::tempdir().unwrap();
    let [(first, plain), (second, over_websocket)] = [socket(), socket()];
    let mut command = command(&folder.path().join("messenger.db"), 2, [&first, &second]);
    command.args(["--ws-listen", "127.0.0.1:0"]);
    let process = Process::spawn(command).await;
    assert_eq!(process.address, plain);
    WebSocket::log_in(over_websocket.parse().unwrap(), "ann").await;
}

#[tokio::test]
async fn a_socket_that_nobody_would_serve_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, _) = socket();
    let mut command = command(&folder.path().join("messenger.db"), 2, [&socket, &socket]);
    command
        .env("MESSENGER_METRICS_LISTEN", "off")
        .stderr(Stdio::piped());
    let ended = command.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("2 sockets were passed"), "{told}");
}
