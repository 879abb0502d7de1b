//! The log, and whoever reads it, or does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use regex::Regex;
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--metrics-listen", "127.0.0.1:0"])
        .env("RUST_LOG", "debug");
    logging(command)
}

/// Starts a server; its log.
fn logging(mut command: Command) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = command
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

/// What the documented filter finds in a line: the address to be kept out.
fn address_to_ban(line: &str) -> Option<&str> {
    let filter = include_str!("../../docs/fail2ban.conf");
    let mut settings = filter.lines();
    let regex = settings.find_map(|line| line.strip_prefix("failregex = "));
    // What fail2ban puts there for a log that is a file, and for an address.
    let regex = regex.unwrap().replace("%(__prefix_line)s", "");
    let regex = Regex::new(&regex.replace("<HOST>", "([0-9a-f.:]+)")).unwrap();
    let found = regex.captures(line)?;
    Some(found.get(1).unwrap().as_str())
}

#[tokio::test]
async fn failed_log_ins_are_found_by_the_filter_and_cannot_be_forged() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--metrics-listen", "off", "--max-name", "200"])
        .env_remove("RUST_LOG");
    let (mut child, mut lines) = logging(command);
    let address = address_behind(&mut lines, "listening").await;
    let mut raw = Raw::new(TcpStream::connect(&address).await.unwrap());
    raw.frame().await;
    let register = r#"{"action":"register","data":{"login":"ann","pass":"p","nick":"Ann"}}"#;
    raw.send(register).await;
    raw.frame().await;
    let forged = "WARN connection{id=1 peer=1}: a: a log-in failed address=192.0.2.1 reason=";
    let forged_alone = address_to_ban(forged);
    assert_eq!(forged_alone, Some("192.0.2.1"), "if it were a line");
    let logins = [
        "ann",
        "nobody",
        r#"\" reason=\" address=192.0.2.1"#,
        &format!(r"\n{forged}"),
        r"\u001b[2K\r\u0000\u202e",
    ];
    for login in logins {
        let auth = r#"{"action":"auth","data":{"login":"LOGIN","pass":"a secret"}}"#;
        raw.send(&auth.replace("LOGIN", login)).await;
        let status = raw.frame().await["data"]["status"].as_u64().unwrap();
        assert!(status == 2 || status == 7, "{login}: {status}");
    }
    assert_eq!(terminate(&mut child).await, Some(0));
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        assert!(!line.contains("secret"), "{line}");
        assert!(!line.contains(char::is_control), "{line}");
        if let Some(address) = address_to_ban(&line) {
            assert_eq!(address, "127.0.0.1", "{line}");
            found.push(line);
        }
    }
    assert_eq!(found.len(), logins.len(), "{found:#?}");
    assert!(found[0].ends_with(r#"reason="wrong password" login="ann""#));
    assert!(found[1].ends_with(r#"reason="no such login" login="nobody""#));
}

#[tokio::test]
async fn as_json_a_login_is_what_the_client_wrote() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--metrics-listen", "off", "--log-format", "json"])
        .env_remove("RUST_LOG");
    let (_child, mut lines) = logging(command);
    let mut line_of = async |sentence: &str| loop {
        let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line["fields"]["message"] == sentence {
            return line;
        }
    };
    let address = line_of("listening").await["fields"]["address"].clone();
    let mut raw = Raw::new(TcpStream::connect(address.as_str().unwrap()).await.unwrap());
    raw.frame().await;
    raw.send(r#"{"action":"auth","data":{"login":"a\"b","pass":"x"}}"#)
        .await;
    let failed = line_of("a log-in failed").await;
    assert_eq!(failed["fields"]["login"], "a\"b", "{failed}");
}

#[tokio::test]
async fn connections_and_log_ins_are_told_to_whoever_looks_closely() {
    let (mut child, mut lines) = start();
    let address = address_behind(&mut lines, "listening").await;
    let mut raw = Raw::new(TcpStream::connect(&address).await.unwrap());
    raw.frame().await;
    let sid = raw.log_in("ann").await;
    drop(raw);
    let mut again = Raw::new(TcpStream::connect(&address).await.unwrap());
    again.frame().await;
    let resume = format!(r#"{{"action":"contactlist","data":{{"cid":"ann","sid":"{sid}"}}}}"#);
    again.send(&resume).await;
    assert_eq!(again.frame().await["data"]["status"], 0);
    drop(again);
    assert_eq!(terminate(&mut child).await, Some(0));
    let mut log = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        log.push_str(&line);
    }
    for sentence in [
        "a connection began",
        r#"logged in login="ann" session="#,
        r#"a session is resumed login="ann" session="#,
        "a connection ended",
    ] {
        assert!(log.contains(sentence), "{sentence}: {log}");
    }
    assert!(!log.contains(&sid), "no secret: {log}");
}
