//! Many connections at once, and more than there are open files for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::time::{Duration, Instant};
use support::process::Process;
use support::{Raw, SOON};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

const BURST: usize = 4000;

/// The most that a connection takes which does nothing, in bytes, and some more: what it has are blocks of some sizes.
const IDLE: u64 = 3500;

/// A connection that the system has put off is tried again by it after a second, and then after longer.
const WELCOMED_WITHIN: Duration = Duration::from_secs(5);

/// The binary, started by a shell that does this first.
async fn start_after(shell: &str, flags: &str) -> Process {
    let binary = env!("CARGO_BIN_EXE_messenger-server");
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!(
        "{shell} exec {binary} --listen 127.0.0.1:0 {flags}"
    ));
    Process::spawn(command).await
}

/// A connection that has been welcomed, without having sent anything; `None` if it was turned away.
async fn connect(address: &str) -> Option<Raw> {
    let mut raw = Raw::new(TcpStream::connect(address).await.unwrap());
    let welcome = raw.try_frame().await?;
    assert_eq!(welcome["action"], "welcome");
    Some(raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_in_a_burst_is_welcomed() {
    rlimit::increase_nofile_limit(BURST as u64 + 1000).unwrap();
    let server = start_after("", "--store memory:").await;
    let begun = Instant::now();
    let mut burst = JoinSet::new();
    for _ in 0..BURST {
        let address = server.address.clone();
        burst.spawn(async move { connect(&address).await });
    }
    let welcomed = timeout(WELCOMED_WITHIN, burst.join_all());
    let welcomed = welcomed.await.expect("everybody to be welcomed");
    assert!(welcomed.iter().all(Option::is_some), "turned away");
    println!("{BURST} were welcomed within {:?}", begun.elapsed());
}

/// What a connection costs that does nothing: a client that has come back to its session, and been given its list.
#[tokio::test]
async fn idle_connections_take_little_memory() {
    const COUNT: usize = 4000;
    rlimit::increase_nofile_limit(COUNT as u64 + 1000).unwrap();
    // The allocator keeps nothing of the password that was hashed, which would be counted, or be used again.
    let server = start_after("export MIMALLOC_PURGE_DELAY=0;", "--store memory:").await;
    let mut first = connect(&server.address).await.unwrap();
    let sid = first.log_in("ann").await;
    let come_back = format!(r#"{{"action":"contactlist","data":{{"cid":"ann","sid":"{sid}"}}}}"#);
    let (mut kept, mut before) = (Vec::new(), 0);
    for number in 0..COUNT {
        if number == COUNT / 4 {
            before = server.resident();
        }
        let mut raw = connect(&server.address).await.unwrap();
        raw.send(&come_back).await;
        assert_eq!(raw.frame().await["data"]["status"], 0);
        kept.push(raw);
    }
    let each = (server.resident() - before) / (COUNT - COUNT / 4) as u64;
    println!("{each} bytes each");
    assert!(each < IDLE, "{each} bytes each");
}

#[tokio::test]
async fn a_backlog_that_the_system_does_not_allow_is_told() {
    let server = start_after("", "--store memory: --listen-backlog 2147483647").await;
    server.logs("raise net.core.somaxconn").await;
}

/// What monitoring answers; its status.
async fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    let read = timeout(SOON, stream.read_to_string(&mut response)).await;
    read.expect("an answer").unwrap();
    response[9..12].to_owned()
}

#[tokio::test]
async fn monitoring_and_the_store_find_files_when_connections_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!(
        "--store sqlite:{} --metrics-listen 127.0.0.1:0",
        folder.path().join("store").display()
    );
    let server = start_after("ulimit -n 100;", &flags).await;
    server.logs("raise the limit (ulimit -n)").await;
    let monitoring = server.address_behind("metrics are told").await;
    let mut held = Vec::new();
    let mut turned_away = 0;
    for _ in 0..200 {
        match connect(&server.address).await {
            Some(stream) => held.push(stream),
            None => turned_away += 1,
        }
    }
    assert!(held.len() > 20 && turned_away > 0, "{} held", held.len());
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&monitoring, path).await, "200", "{path}");
    }
    // Registers, so that something is written.
    held[0].log_in("ann").await;
}

#[tokio::test]
async fn too_few_open_files_are_told() {
    let binary = env!("CARGO_BIN_EXE_messenger-server");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n 30; exec {binary} --store memory:"),
    ]);
    let output = timeout(SOON, command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("open files are too few"), "{log}");
}
