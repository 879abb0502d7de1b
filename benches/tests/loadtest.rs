//! The load tool counts what arrives, of a server and of its own relay.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::{Engine, Policy};
use messenger_server::{Server, Transport};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

/// What a short run of `pairs` tells of whoever listens there.
async fn pairs(address: &str, more: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["pairs", "--server", address, "--json"])
        .args(["--pairs", "2", "--window", "4", "--seconds", "1"])
        .args(more)
        .stderr(Stdio::inherit())
        .output();
    serde_json::from_slice(&output.await.unwrap().stdout).unwrap()
}

fn assert_all_arrived(figures: &Value) {
    assert!(figures["messages_a_second"].as_f64().unwrap() > 0.0);
    assert!(figures["p99"].as_u64().unwrap() > 0);
    assert_eq!(
        (&figures["lost"], &figures["out_of_order"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_server_is_measured() {
    let policy = Policy {
        rates: None,
        ..Policy::default()
    };
    let engine = Engine::builder().policy(policy).build().unwrap();
    let server = Server::new(engine, Transport::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    assert_all_arrived(&pairs(&address, &[]).await);
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
    assert_all_arrived(&pairs(address, &["--is-relay"]).await);
}
