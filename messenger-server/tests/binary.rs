//! The binary as an operator meets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn server(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("RUST_LOG")
        .env("MESSENGER_STORE", "memory:")
        .env("MESSENGER_METRICS_LISTEN", "off")
        .kill_on_drop(true);
    command
}

/// Reads the log until the server listens; its address.
async fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, address)) = line.split_once("address=") {
                let address = address.split_whitespace().next().unwrap();
                // Colours may surround it.
                return address
                    .trim_matches(|c: char| !c.is_ascii_digit())
                    .to_owned();
            }
        }
        panic!("the server ended");
    };
    timeout(SOON, listening).await.unwrap()
}

async fn output(flags: &[&str]) -> (Option<i32>, String) {
    let output = timeout(SOON, server(flags).output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn serves_and_stops_when_told() {
    let mut child = server(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let address = address(&mut child).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"{");
    let pid = child.id().unwrap().to_string();
    let told = Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .await
        .unwrap();
    assert!(told.success());
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    drop(stream);
    let status = timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn what_the_log_suggests_to_try_shows_the_welcome() {
    let mut child = server(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let suggested = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, command)) = line.split_once("try it in bash: ") {
                return command.split(" (").next().unwrap().to_owned();
            }
        }
        panic!("the server ended");
    };
    let command = timeout(SOON, suggested).await.unwrap();
    let mut bash = Command::new("bash")
        .args(["-c", &command])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let welcome = r#"{"action":"welcome","#;
    let mut shown = vec![0; welcome.len()];
    let shows = bash.stdout.as_mut().unwrap().read_exact(&mut shown);
    timeout(SOON, shows).await.unwrap().unwrap();
    assert_eq!(shown, welcome.as_bytes());
}

#[tokio::test]
async fn a_setting_may_come_from_the_environment() {
    let mut command = server(&[]);
    command
        .env("MESSENGER_LISTEN", "127.0.0.1:0")
        .env("MESSENGER_WELCOME", "Good day");
    let mut child = command.spawn().unwrap();
    let address = address(&mut child).await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let mut welcome = vec![0; 50];
    stream.read_exact(&mut welcome).await.unwrap();
    let welcome = String::from_utf8(welcome).unwrap();
    assert!(welcome.starts_with(r#"{"action":"welcome","message":"Good day","time":"#));
}

#[tokio::test]
async fn bad_settings_are_refused_with_a_sentence() {
    for (flags, sentence) in [
        (["--listen", "nonsense"], "--listen"),
        (["--listen", "7788"], "such as 127.0.0.1:7788"),
        (["--metrics-listen", "7789"], "such as 127.0.0.1:7788"),
        (["--store", "floppy:"], "there is no such store"),
        (["--notifier", "pigeon:"], "there is no such notifier"),
        (["--default-region", "Atlantis"], "two-letter country code"),
        (["--max-frame", "many"], "--max-frame"),
        (["--max-frame", "16Mega"], "16MiB"),
        (["--max-frame", "16"], "from 256 to"),
        (["--max-connections", "16MiB"], "a whole number"),
        (["--echo", "loud"], "--echo"),
        (["--keepalive", "0"], "--keepalive"),
        (["--max-outgoing", "0"], "--max-outgoing"),
        (["--max-connections", "99999999999"], "--max-connections"),
        (["--frame-gap", "25ms"], "a whole number from 0 to 10000"),
        (["--frame-gap", "10001"], "a whole number from 0 to 10000"),
        (["--max-list-pictures", "many"], "16MiB"),
        (["--proxy-from", "x"], "such as 10.0.0.0/8"),
        (["--fast", "yes"], "--fast"),
        (["--no-rate-limits=maybe", "check"], "--no-rate-limits"),
    ] {
        let (code, text) = output(&flags).await;
        assert_eq!(code, Some(2), "{flags:?}: {text}");
        assert!(text.contains(sentence), "{flags:?}: {text}");
    }
}

#[tokio::test]
async fn limits_that_contradict_each_other_are_refused() {
    let flags = ["--max-frame-before-auth", "2MiB", "--max-frame", "1MiB"];
    let (code, text) = output(&flags).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("must not be above --max-frame"), "{text}");
}

#[tokio::test]
async fn numbers_and_switches_may_be_written_for_people() {
    for flags in [
        ["check", "--max-frame", "16MiB"],
        ["check", "--max-frame", "16 MB"],
        ["check", "--max-frame", "1_000_000"],
        ["check", "--max-connections", "60_000"],
        ["check", "--max-list-pictures", "1MiB"],
        ["check", "--listen", "localhost:7788"],
        ["check", "--echo", "off"],
        ["check", "--no-rate-limits", "--echo=on"],
        ["check", "--no-rate-limits=on", "--echo=on"],
    ] {
        let (code, text) = output(&flags).await;
        assert_eq!(code, Some(0), "{flags:?}: {text}");
    }
}

#[tokio::test]
async fn a_variable_that_says_nothing_is_refused() {
    for (name, value, sentence) in [
        ("MESSENGER_LISTN", "127.0.0.1:0", "MESSENGER_LISTN is set"),
        ("MESSENGER_ECHO", "loud", "--echo"),
        ("RUST_LOG", "verbose", "messenger_core=debug"),
        ("RUST_LOG", "messenger_core=loud", "messenger_core=debug"),
    ] {
        let output = server(&["check"]).env(name, value).output();
        let output = timeout(SOON, output).await.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        assert!(text.contains(sentence), "{name}: {text}");
    }
    for (name, value) in [
        ("MESSENGER_NO_RATE_LIMITS", "on"),
        ("MESSENGER_NO_RATE_LIMITS", "off"),
        ("MESSENGER_MAX_FRAME", "16MiB"),
        // Kubernetes tells these to a container beside a service called `messenger`.
        ("MESSENGER_SERVICE_HOST", "192.0.2.1"),
        ("MESSENGER_PORT_7788_TCP", "tcp://192.0.2.1:7788"),
        ("RUST_LOG", ""),
        ("RUST_LOG", "warn,messenger_core=debug"),
        ("RUST_LOG", "info, messenger_core=debug,"),
        ("RUST_LOG", "[connection{peer=192.0.2.1}]=debug"),
    ] {
        let output = server(&["check"]).env(name, value).output();
        let output = timeout(SOON, output).await.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (address, sentence) in [
        (address.as_str(), "the port is taken"),
        ("192.0.2.1:0", "no such address"),
    ] {
        let (code, text) = output(&["--listen", address]).await;
        assert_eq!(code, Some(1));
        assert!(text.contains(sentence), "{text}");
    }
}

#[tokio::test]
async fn help_tells_defaults_and_units() {
    let (code, text) = output(&["--help"]).await;
    assert_eq!(code, Some(0));
    for part in [
        "127.0.0.1:7788",
        "sqlite:messenger.db",
        "--max-frame <BYTES>",
        "16777216",
        "MESSENGER_ECHO",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

/// Whoever redirected it would take the empty file for the help.
#[tokio::test]
async fn help_that_cannot_be_written_is_a_failure() {
    for question in ["--help", "--version"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let child = server(&[question]).stdout(full.unwrap()).spawn().unwrap();
        let output = timeout(SOON, child.wait_with_output()).await;
        let output = output.unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{question}: {text}");
        assert!(text.contains("could not be written"), "{text}");
    }
}

#[tokio::test]
async fn a_commands_help_is_about_the_command() {
    let command = ["session", "list", "--store", "sqlite:none.db", "--help"];
    let (code, text) = output(&command).await;
    assert_eq!(code, Some(0));
    assert!(text.contains("--store"), "{text}");
    assert!(!text.contains("--max-frame"), "{text}");
    let (code, text) = output(&["check", "--help"]).await;
    assert_eq!(code, Some(0));
    assert!(text.contains("--max-frame"), "{text}");
}

#[tokio::test]
async fn everything_is_kept_in_a_file_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server(&["--listen", "127.0.0.1:0"]);
    command
        .current_dir(folder.path())
        .env_remove("MESSENGER_STORE");
    let mut child = command.spawn().unwrap();
    address(&mut child).await;
    assert!(folder.path().join("messenger.db").exists());
}

#[tokio::test]
async fn lines_about_a_connection_tell_which_and_may_be_json() {
    let mut command = server(&["--listen", "127.0.0.1:0", "--log-format", "json"]);
    let mut child = command.env("RUST_LOG", "debug").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()
    };
    let mut line = next().await;
    while line["fields"]["message"] != "listening" {
        line = next().await;
    }
    let address = line["fields"]["address"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"nonsense").await.unwrap();
    while line["fields"]["message"] != "a client's stream cannot be read on" {
        line = next().await;
    }
    assert_eq!(line["span"]["name"], "connection");
    assert_eq!(line["span"]["peer"], "127.0.0.1");
    assert!(line["span"]["id"].is_string(), "{line}");
}

#[tokio::test]
async fn the_log_does_not_grow_with_every_refusal() {
    let mut child = server(&["--listen", "127.0.0.1:0", "--max-connections", "1"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        let line = line.unwrap();
        if let Some((_, address)) = line.split_once("address=") {
            break address.trim().to_owned();
        }
    };
    let _holder = TcpStream::connect(&address).await.unwrap();
    for _ in 0..500 {
        let mut turned_away = TcpStream::connect(&address).await.unwrap();
        let mut nothing = Vec::new();
        let _ = turned_away.read_to_end(&mut nothing).await;
    }
    child.start_kill().unwrap();
    let mut count = 0;
    while let Some(line) = timeout(SOON, lines.next_line()).await.unwrap().unwrap() {
        count += usize::from(line.contains("turned a connection away"));
    }
    assert!((1..100).contains(&count), "{count} lines");
}
