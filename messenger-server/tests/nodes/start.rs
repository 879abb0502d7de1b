//! What a server says when it starts, and what it keeps to itself.

use crate::cluster::Node;
use crate::support::process::Process;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::process::Stdio;
use testing_servers::{DEADLINE, Nats, Postgres};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

const SECRET: &str = "s3cret";

/// Runs a command on this store; its exit code and what it printed. No line tells the secret.
pub(crate) async fn run(store: &str, line: &str, input: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(line.split_whitespace())
        .env("MESSENGER_STORE", store);
    finish(command, input).await
}

/// Waits for a program that ends by itself.
async fn finish(mut command: Command, input: &str) -> (Option<i32>, String) {
    let mut child = command
        .env_remove("RUST_LOG")
        .env("MESSENGER_METRICS_LISTEN", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(DEADLINE, child.wait_with_output()).await;
    let output = output.expect("it ends").unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    (output.status.code(), text)
}

/// Starts a server that ends again; what it says.
pub(crate) async fn refused(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(["--listen", "127.0.0.1:0"]).args(flags);
    let (code, said) = finish(command, "").await;
    assert!(code.is_some_and(|code| code != 0), "{said}");
    said
}

fn with_secret(url: &str) -> String {
    url.replace("messenger@", &format!("messenger:{SECRET}@"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_lose_messages_is_refused() {
    let postgres = Postgres::start_with(&["fsync=off"]).await;
    let store = with_secret(&postgres.url("postgres"));
    let said = refused(&["--store", &store]).await;
    assert!(
        said.contains("the PostgreSQL setting fsync is off"),
        "{said}"
    );
    let (code, said) = run(&store, "check", "").await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("the PostgreSQL setting fsync is off"),
        "{said}"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_a_sentence() {
    let away = format!("postgres://messenger:{SECRET}@127.0.0.1:1/chat");
    let said = refused(&["--store", &away]).await;
    assert!(
        said.contains("cannot connect to the PostgreSQL database"),
        "{said}"
    );
    for (flags, sentence) in [
        (
            ["--store", "postgres://messenger:s3cret@one:port/chat"],
            "that is no address",
        ),
        (
            [
                "--store",
                "postgres://messenger:s3cret@one/chat?sslmode=s3cret",
            ],
            "sslmode is require",
        ),
        (
            ["--notifier", "nats://messenger:s3cret?@one"],
            "in front of the @",
        ),
        (
            ["--notifier", "https://messenger:s3cret@one"],
            "there is no such notifier",
        ),
    ] {
        let said = refused(&flags).await;
        assert!(said.contains(sentence), "{said}");
    }
    let said = refused(&["--store", "memory:", "--notifier", "nats://localhost"]).await;
    assert!(said.contains("for nodes that share a store"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_over_a_network_in_the_clear_if_it_must_not() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, key) = (path("cert.pem"), path("key.pem"));
    std::fs::write(&ca, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let postgres = Postgres::start_with_tls(&cert.pem(), &signing_key.serialize_pem()).await;
    let nats = Nats::start(&["--tls", "--tlscert", &ca, "--tlskey", &key]);
    let store = format!(
        "postgres://messenger@127.0.0.1:{}/postgres?sslmode=verify-full&sslrootcert={ca}",
        postgres.port()
    );
    let notifier = format!("tls://127.0.0.1:{}?ca={ca}", nats.port());
    let node = Node::start(&store, &notifier, &[]).await;
    node.is_ready().await;
    let mut ann = node.join("ann").await;
    ann.client.send("ann", "a note").await.unwrap();
    assert_eq!(ann.next().await.message.body.as_str(), "a note");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_in_addresses_are_told_to_nobody() {
    let postgres = Postgres::start().await;
    let nats = Nats::start(&["--user", "messenger", "--pass", SECRET]);
    let store = with_secret(&postgres.database().await);
    let notifier = format!("nats://messenger:{SECRET}@127.0.0.1:{}", nats.port());
    // All that any part of it has to say.
    let mut command = Command::new("env");
    command
        .args(["RUST_LOG=trace", env!("CARGO_BIN_EXE_messenger-server")])
        .args(["--listen", "127.0.0.1:0"])
        .env("MESSENGER_STORE", &store)
        .env("MESSENGER_NOTIFIER", &notifier);
    let server = Process::spawn(command).await;
    server.logs("connected to NATS").await;
    let said = server.said();
    assert!(said.contains("TRACE"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    server.kill().await;

    let mut help = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    help.arg("--help")
        .env("MESSENGER_STORE", &store)
        .env("MESSENGER_NOTIFIER", &notifier);
    let (code, _) = finish(help, "").await;
    assert_eq!(code, Some(0));
    let (code, said) = run(&store, "check", "").await;
    assert_eq!(code, Some(0), "{said}");
}
