//! The binary, which listens for WebSocket where it is told to.

use super::support::certificate::Files;
use super::support::process::Process;
use super::support::websocket::{Ended, WebSocket, ask};
use tokio::net::TcpStream;
use tokio::process::Command;

fn server(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(flags);
    command
}

#[tokio::test]
async fn it_listens_for_both_and_stops_in_good_order() {
    let files = Files::new();
    let mut command = server(&["--ws-listen", "127.0.0.1:0", "--wss-listen", "127.0.0.1:0"]);
    command.args(["--ws-origin", "https://chat.example"]);
    command.arg("--tls-cert").arg(files.certificates());
    command.arg("--tls-key").arg(files.key());
    let process = Process::spawn(command).await;
    let ws = process
        .address_behind("listening for WebSocket address")
        .await;
    let wss = process
        .address_behind("listening for WebSocket over TLS")
        .await;
    let mut ann = WebSocket::log_in(ws.parse().unwrap(), "ann").await;
    let mut bob = WebSocket::over(files.connect(&wss).await.unwrap()).await;
    assert_eq!(bob.object().await["action"], "welcome");
    bob.authenticate("bob").await;
    ann.send(&super::message("bob", "over TLS")).await;
    assert_eq!(bob.object().await["data"]["body"], "over TLS");
    for (origin, wanted) in [
        ("https://chat.example", " 101 "),
        ("http://127.0.0.1", " 403 "),
    ] {
        let mut stream = TcpStream::connect(&ws).await.unwrap();
        let head = ask(&mut stream, "/ws", &format!("Origin: {origin}\r\n")).await;
        assert!(head.contains(wanted), "{origin}: {head}");
    }
    process.signal("TERM").await;
    assert_eq!(ann.ended().await, Ended::Closed(1001));
    assert_eq!(bob.ended().await, Ended::Closed(1001));
    assert_eq!(process.ended().await, Some(0));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_with_a_sentence() {
    for (flags, sentence) in [
        (["--ws-origin", "chat.example"], "https://example.org"),
        (["--ws-listen", "7791"], "give an address and a port"),
        (["--wss-listen", "127.0.0.1:0"], "--tls-cert"),
    ] {
        let output = server(&flags).output().await.unwrap();
        assert!(!output.status.success());
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(told.contains(sentence), "{told}");
    }
}
