//! The log, and whoever reads it, or does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Raw, SOON};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// A server that logs much, and its log, which nobody reads but the test.
fn start() -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_messenger-server"))
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--metrics-listen", "127.0.0.1:0"])
        .env("RUST_LOG", "debug")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    (child, lines)
}

/// Reads on until a line has this in it, and gives the address at its end.
async fn address_behind(lines: &mut Lines<BufReader<ChildStderr>>, sentence: &str) -> String {
    loop {
        let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("the server ended");
        if line.contains(sentence) {
            return line.split_once("address=").unwrap().1.trim().to_owned();
        }
    }
}

async fn terminate(child: &mut Child) -> Option<i32> {
    let mut kill = Command::new("kill");
    let pid = child.id().unwrap().to_string();
    assert!(kill.args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = timeout(SOON, child.wait()).await;
    ended.expect("the server ends").unwrap().code()
}

/// Fills the pipe of the process's standard error to the last byte.
async fn fill(child: &Child) {
    let path = format!("/proc/{}/fd/2", child.id().unwrap());
    let pipe = pipe::OpenOptions::new().open_sender(path).unwrap();
    pipe.writable().await.unwrap();
    let mut filled = 0;
    while let Ok(written) = pipe.try_write(b".") {
        filled += written;
    }
    assert_ne!(filled, 0, "the pipe was not full before");
}

#[tokio::test]
async fn a_reader_that_has_stopped_does_not_stop_the_server() {
    let (mut child, mut lines) = start();
    let address = address_behind(&mut lines, "listening").await;
    let monitoring = address_behind(&mut lines, "metrics are told").await;
    fill(&child).await;
    for _ in 0..100 {
        let mut raw = Raw::new(TcpStream::connect(&address).await.unwrap());
        assert_eq!(raw.frame().await["action"], "welcome");
        // There is a line for each.
        raw.send("nonsense").await;
        assert_eq!(raw.frame().await["data"]["status"], 3);
    }
    let mut monitor = TcpStream::connect(&monitoring).await.unwrap();
    let question = b"GET /healthz HTTP/1.0\r\n\r\n";
    monitor.write_all(question).await.unwrap();
    let mut answer = String::new();
    let read = timeout(SOON, monitor.read_to_string(&mut answer)).await;
    read.expect("an answer").unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
    let told = Instant::now();
    assert_eq!(terminate(&mut child).await, Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
    drop(lines);
}

#[tokio::test]
async fn the_last_line_is_read() {
    let (mut child, mut lines) = start();
    address_behind(&mut lines, "metrics are told").await;
    let (code, last) = tokio::join!(terminate(&mut child), async {
        let mut last = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            last = line;
        }
        last
    });
    assert_eq!(code, Some(0));
    assert!(last.contains("stopped"), "{last}");
}
