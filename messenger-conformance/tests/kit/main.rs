//! The kit finds nothing wrong with our server, and finds each fault that is planted in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod faults;
mod proxy;
mod server;
mod websocket;

use serde_json::Value;
use server::{Reached, start};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long all rules may take.
const SOON: Duration = Duration::from_secs(300);

/// What the kit finds, and its exit code.
async fn kit(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-conformance"));
    let command = command.arg("--json").args(arguments).kill_on_drop(true);
    let done = timeout(SOON, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    let found = serde_json::from_slice(&done.stdout);
    (
        found.unwrap_or_else(|_| panic!("{said}")),
        done.status.code(),
    )
}

/// Fails for the first rule that is broken.
fn all_kept(found: &[Value]) {
    let broken = found.iter().find(|outcome| !outcome["fault"].is_null());
    assert_eq!(broken, None);
}

#[tokio::test]
async fn our_server_keeps_every_rule_over_tcp() {
    let address = start(Reached::ByTcp, |_| ()).await.to_string();
    let (found, code) = kit(&["--patience", "60", "--addr", &address]).await;
    all_kept(&found);
    assert_eq!(code, Some(0));
    assert!(found.len() > 100, "{}", found.len());
}

#[tokio::test]
async fn our_server_keeps_every_rule_over_websocket() {
    let address = start(Reached::ByWebSocket, |_| ()).await;
    let url = format!("ws://{address}/");
    let (found, code) = kit(&["--patience", "60", "--ws", &url]).await;
    all_kept(&found);
    assert_eq!(code, Some(0));
    assert!(found.len() > 100, "{}", found.len());
}

#[tokio::test]
async fn a_server_that_is_not_there_keeps_no_rule() {
    let (found, code) = kit(&["--addr", "127.0.0.1:0", "--rule", "connecting"]).await;
    assert_eq!(found[0]["fault"]["expected"], "a connection");
    assert_eq!(code, Some(1));
}
