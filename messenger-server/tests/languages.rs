//! Clients in other languages, written by PROTOCOL.md alone, lose nothing and show nothing twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use support::process::Process;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Interpreters begin slowly on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// How many messages each sends.
const MESSAGES: usize = 20;

struct Client {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(interpreter: &str, file: &str, address: &str, login: &str, folder: &Path) -> Self {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/other-languages");
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut child = Command::new(interpreter)
            .arg(programs.join(file))
            .args([host, port, login])
            .arg(folder.join(login))
            .env("PASSWORD", "secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    fn python(address: &str, login: &str, folder: &Path) -> Self {
        Self::start("python3", "client.py", address, login, folder)
    }

    fn node(address: &str, login: &str, folder: &Path) -> Self {
        Self::start("node", "client.mjs", address, login, folder)
    }

    async fn type_in(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    async fn shows(&mut self, line: &str) {
        let shown = timeout(SOON, self.output.next_line()).await;
        assert_eq!(shown.unwrap().unwrap().as_deref(), Some(line));
    }

    /// Has an account, once a message to oneself has come.
    async fn joins(&mut self, login: &str) {
        self.type_in(&format!("{login} here I am")).await;
        self.shows(&format!("{login}: here I am")).await;
    }
}

async fn server(store: &Path, address: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(["--listen", address, "--store"]);
    command.arg(format!("sqlite:{}", store.display()));
    Process::spawn(command).await
}

/// The client has noted that it has shown so many messages, and that all of its own are stored.
async fn noted(file: &Path, shown: usize) {
    loop {
        let state = std::fs::read_to_string(file).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        if state["seq"] == shown && state["outbox"].as_array().unwrap().is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn they_talk_over_restarts_of_the_server_and_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = folder.join("store");
    let mut server_now = Process::start(&store).await;
    let address = server_now.address.clone();
    let mut ann = Client::python(&address, "ann", folder);
    let mut bob = Client::node(&address, "bob", folder);
    ann.joins("ann").await;
    bob.joins("bob").await;
    for n in 0..MESSAGES {
        ann.type_in(&format!("bob a{n} {{\"x\": [}}")).await;
        bob.type_in(&format!("ann b{n} привет")).await;
        if n == MESSAGES / 2 {
            server_now.kill().await;
            server_now = server(&store, &address).await;
        }
    }
    for n in 0..MESSAGES {
        bob.shows(&format!("ann: a{n} {{\"x\": [}}")).await;
        ann.shows(&format!("bob: b{n} привет")).await;
    }
    for (login, client) in [("ann", &mut ann), ("bob", &mut bob)] {
        // One that is killed before it has noted what it has shown shows that again.
        timeout(SOON, noted(&folder.join(login), MESSAGES + 1))
            .await
            .unwrap();
        client.child.kill().await.unwrap();
    }
    let mut ann = Client::node(&address, "ann", folder);
    let mut bob = Client::python(&address, "bob", folder);
    ann.type_in("bob again").await;
    bob.shows("ann: again").await;
    bob.type_in("ann yes").await;
    ann.shows("bob: yes").await;
}
