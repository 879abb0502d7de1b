//! Clients that do not go on cost no processor time, however far they have come.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::time::Duration;
use support::process::Process;
use support::websocket::{TEXT, WebSocket};
use support::{Raw, SOON};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// The server's clock of used time counts hundredths of a second. In so long it may use up so many.
const LOOKED_FOR: Duration = Duration::from_millis(500);
const HUNDREDTHS: u64 = 3;

/// Waits until the server rests.
async fn rests(server: &Process) {
    let resting = async {
        loop {
            let before = server.used();
            sleep(LOOKED_FOR).await;
            if server.used() - before <= HUNDREDTHS {
                return;
            }
        }
    };
    timeout(SOON, resting).await.expect("it rests");
}

async fn log_in(server: &Process, login: &str) -> Raw {
    let mut raw = Raw::new(TcpStream::connect(&server.address).await.unwrap());
    assert_eq!(raw.frame().await["action"], "welcome");
    raw.log_in(login).await;
    raw
}

/// A message, but for its end.
fn half(length: usize) -> String {
    let data = "A".repeat(length);
    format!(r#"{{"action":"message","data":{{"uid":"ann","attach":{{"mime":"x","data":"{data}"#)
}

#[tokio::test]
async fn clients_that_do_not_go_on_cost_no_processor_time() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(["--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.args(["--ws-listen", "127.0.0.1:0"]);
    let server = Process::spawn(command).await;
    let websocket = server.address_behind("listening for WebSocket").await;
    let mut ann = log_in(&server, "ann").await;
    rests(&server).await;

    // In the middle of a frame, of any size.
    let mut halves = Vec::new();
    for length in [4, 60_000, 100_000, 2_000_000] {
        let mut raw = log_in(&server, &format!("bob {length}")).await;
        raw.send(&half(length)).await;
        halves.push(raw);
        rests(&server).await;
    }
    let mut over_websocket = WebSocket::log_in(websocket.parse().unwrap(), "carol").await;
    let text = half(200_000);
    over_websocket.send_frame(TEXT, text.as_bytes()).await;
    rests(&server).await;

    // With more to take than there is room for.
    for _ in 0..20 {
        ann.send(&(half(1_000_000) + r#""}}}"#)).await;
    }
    rests(&server).await;

    // All of them are heard when they go on.
    for mut raw in halves {
        raw.send(r#""}}}"#).await;
        assert_eq!(raw.frame().await["data"]["status"], 0);
    }
}
