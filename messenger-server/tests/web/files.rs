//! What the page's port answers, asked by hand.

use super::site::Site;
use crate::support::SOON;
use crate::support::certificate::Files;
use crate::support::process::{Process, flags};
use flate2::read::GzDecoder;
use std::io::Read;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// More silent connections than may be at once.
const SILENT: usize = 300;

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(header, _)| header.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value)
    }
}

/// Sends one request, whose head lines these are, and reads the answer.
async fn ask(site: &Site, lines: &str) -> Answer {
    let mut stream = TcpStream::connect(&site.web).await.unwrap();
    let head = format!("{lines}\r\nhost: {}\r\nconnection: close\r\n\r\n", site.web);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    // What is refused before it is read whole may be reset.
    let _ = read;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer to {lines:.60}"));
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    Answer { head, body }
}

/// The address of a file, as the page names it.
async fn address(site: &Site, name: &str) -> String {
    let page = ask(site, "GET / HTTP/1.1").await;
    let text = String::from_utf8(page.body).unwrap();
    let mut addresses = text.split('"').filter(|part| part.ends_with(name));
    addresses.next().unwrap().to_owned()
}

#[tokio::test]
async fn every_answer_says_that_nothing_foreign_runs() {
    let site = Site::start().await;
    let script = address(&site, "app.js").await;
    for (lines, status) in [
        ("GET / HTTP/1.1".to_owned(), "200"),
        (format!("GET {script} HTTP/1.1"), "200"),
        ("GET /nowhere HTTP/1.1".to_owned(), "404"),
        ("GET /v/1/../../Cargo.toml HTTP/1.1".to_owned(), "404"),
        ("POST / HTTP/1.1\r\ncontent-length: 0".to_owned(), "405"),
    ] {
        let answer = ask(&site, &lines).await;
        assert_eq!(answer.status(), status, "{lines}");
        let policy = answer.header("content-security-policy");
        let mut parts = policy.split("; ");
        assert_eq!(parts.next(), Some("default-src 'none'"));
        for part in [
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(
                parts.clone().any(|other| other == part),
                "{part} in {policy}"
            );
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn files_are_kept_by_browsers_until_they_change() {
    let site = Site::start().await;
    let page = ask(&site, "GET / HTTP/1.1").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    let style = address(&site, "style.css").await;
    let plain = ask(&site, &format!("GET {style} HTTP/1.1")).await;
    assert_eq!(plain.header("content-type"), "text/css; charset=utf-8");
    assert!(plain.header("cache-control").contains("immutable"));
    let tag = plain.header("etag");
    let again = ask(
        &site,
        &format!("GET {style} HTTP/1.1\r\nif-none-match: {tag}"),
    )
    .await;
    assert_eq!((again.status(), again.body.len()), ("304", 0));
    let head = ask(&site, &format!("HEAD {style} HTTP/1.1")).await;
    assert_eq!((head.status(), head.body.len()), ("200", 0));

    let packed = ask(
        &site,
        &format!("GET {style} HTTP/1.1\r\naccept-encoding: br, gzip"),
    )
    .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.body.as_slice())
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.body);

    // A page of another version, open since, still finds what it loads late, but does not keep it.
    let other = ask(&site, "GET /v/other/password.js HTTP/1.1").await;
    assert_eq!(
        (other.status(), other.header("cache-control")),
        ("200", "no-cache")
    );
}

#[tokio::test]
async fn pages_of_others_do_not_connect() {
    let site = Site::start().await;
    let upgrade = "GET /ws HTTP/1.1\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let foreign = ask(&site, &format!("{upgrade}\r\norigin: http://example.org")).await;
    assert_eq!(foreign.status(), "403");
    assert_eq!(ask(&site, "GET /ws HTTP/1.1").await.status(), "426");
}

#[tokio::test]
async fn who_says_nothing_or_too_much_keeps_nobody_from_the_page() {
    let site = Site::start().await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(&site.web).await.unwrap());
    }
    assert_eq!(ask(&site, "GET / HTTP/1.1").await.status(), "200");
    let long = "x".repeat(9_000);
    assert_eq!(
        ask(&site, &format!("GET /{long} HTTP/1.1")).await.status(),
        "431"
    );
    // The first of the silent ones had to make room.
    let mut first = silent.remove(0);
    let ended = timeout(SOON, first.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn the_page_is_served_over_tls() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::new());
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(flags(&folder.path().join("store.db")));
    command.args(["--web-tls-listen", "127.0.0.1:0", "--tls-cert"]);
    command
        .arg(files.certificates())
        .arg("--tls-key")
        .arg(files.key());
    let process = Process::spawn(command).await;
    let address = process.address_behind("serving the page over TLS").await;
    let mut stream = files.connect(&address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(SOON, read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
