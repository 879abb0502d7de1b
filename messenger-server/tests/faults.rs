//! What is below the store fails: the disk is full, cannot be written, or does not sync. Requests get
//! 22, the log says what to do, nothing is acknowledged that is not stored, and service resumes when
//! the cause is gone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{ErrorCode, Password, SendMessage};
use messenger_client::{Client, ClientError, connect};
use std::path::{Path, PathBuf};
use support::SOON;
use support::process::{Process, flags};
use tokio::process::Command;
use tokio::time::timeout;

/// A process that may mount file systems nobody else sees, and then becomes the server.
fn with_mounts(script: &str, folder: &Path, store: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        // Small disks, which are to be filled.
        .env("MESSENGER_MIN_FREE_DISK", "0")
        .args(["--map-root-user", "--mount", "sh", "-ec", script])
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_messenger-server"))
        .args(flags(store));
    command
}

/// Sends numbered messages to bob, and keeps what was accepted.
struct Sender {
    client: Client,
    body: String,
    next: usize,
    accepted: Vec<String>,
}

impl Sender {
    async fn start(process: &Process, bytes: usize) -> Self {
        let pass = Password::md5_of("secret");
        let (client, _events) = connect(&process.address).await.unwrap();
        for login in ["bob", "ann"] {
            client.register(login, &pass, login).await.unwrap();
        }
        client.auth("ann", &pass).await.unwrap();
        Self {
            client,
            body: "x".repeat(bytes),
            next: 0,
            accepted: Vec::new(),
        }
    }

    /// False when the answer was 22.
    async fn send(&mut self) -> bool {
        self.next += 1;
        let body = format!("{} {}", self.next, self.body);
        let message = SendMessage::new("bob", body.clone());
        match self.client.send_message(message).await {
            Ok(_) => self.accepted.push(body),
            Err(ClientError::Refused(failure)) => {
                assert_eq!(failure.code, ErrorCode::Unavailable, "{failure}");
                return false;
            }
            Err(error) => panic!("{error}"),
        }
        true
    }

    async fn send_until(&mut self, accepted: bool) {
        let sending = async { while self.send().await != accepted {} };
        timeout(SOON, sending).await.unwrap();
    }

    /// Bob is given what was accepted, and nothing else.
    async fn check(&self, address: &str) {
        let (bob, mut events) = connect(address).await.unwrap();
        bob.auth("bob", &Password::md5_of("secret")).await.unwrap();
        for (seq, body) in (1..).zip(&self.accepted) {
            let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
            assert_eq!(event.seq, Some(seq), "what failed has left a gap");
            assert!(
                *event.message.body.as_str() == **body,
                "not what was accepted"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_service_resumes_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=12m tmpfs "$0"; exec "$@""#;
    let store = folder.path().join("messenger.db");
    let process = Process::spawn(with_mounts(script, folder.path(), &store)).await;
    // The process's own view of its file systems.
    let inside = PathBuf::from(format!("/proc/{}/root", process.id()));
    let ballast = inside
        .join(folder.path().strip_prefix("/").unwrap())
        .join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let mut sender = Sender::start(&process, 30_000).await;
    sender.send_until(false).await;
    assert!(sender.accepted.len() > 3);
    process
        .logs("the store's disk is full: make room there")
        .await;
    // What is there can be read.
    assert_eq!(sender.client.user_info("bob").await.unwrap().nick, "bob");
    std::fs::remove_file(&ballast).unwrap();
    sender.send_until(true).await;
    sender.check(&process.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_told_and_service_resumes_when_it_works() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("disk.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/disk.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .await;
    assert!(compiled.unwrap().success());
    for fault in ["sync", "readonly"] {
        let store = folder.path().join(format!("{fault}.db"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command
            .args(flags(&store))
            .env("LD_PRELOAD", &library)
            .env("FAULTS", folder.path());
        let process = Process::spawn(command).await;
        let mut sender = Sender::start(&process, 100).await;
        for _ in 0..3 {
            assert!(sender.send().await, "{fault}");
        }
        let failing = folder.path().join(fault);
        std::fs::write(&failing, "").unwrap();
        for _ in 0..3 {
            assert!(
                !sender.send().await,
                "acknowledged though not stored: {fault}"
            );
        }
        process
            .logs("the store's disk fails: check that it is there")
            .await;
        std::fs::remove_file(&failing).unwrap();
        for _ in 0..3 {
            assert!(sender.send().await, "{fault}");
        }
        process.kill().await;
        let process = Process::start(&store).await;
        sender.check(&process.address).await;
    }
}

/// A command that is to end by itself; its exit code and what it says.
async fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(SOON, command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_only_be_read_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messenger.db");
    Process::start(&store).await.kill().await;
    // All but the lock file.
    let script = r#"mount --bind "$0" "$0"
        mount --bind "$0/messenger.db.lock" "$0/messenger.db.lock"
        mount -o remount,bind,ro "$0"; exec "$@""#;
    let (code, text) = ended(with_mounts(script, folder.path(), &store)).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("may only be read"), "{text}");
}

/// Or the log beside it stays in the container, with the messages that were accepted last.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_mounted_by_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("messenger.db");
    Process::start(&store).await.kill().await;
    let inside = folder.path().join("in a container");
    std::fs::create_dir(&inside).unwrap();
    let mounted = inside.join("messenger.db");
    std::fs::write(&mounted, "").unwrap();
    let script = r#"mount --bind "$0/messenger.db" "$0/in a container/messenger.db"; exec "$@""#;
    for command in [
        &[][..],
        &["user", "list"],
        &["check"],
        &["backup", "copy.db"],
    ] {
        let mut server = with_mounts(script, folder.path(), &mounted);
        let (code, text) = ended({
            server.args(command);
            server
        })
        .await;
        assert_eq!(code, Some(1), "{command:?}: {text}");
        let sentence = "mount the folder that it is in";
        assert!(text.contains(sentence), "{command:?}: {text}");
    }
    // The sentence can be followed.
    let script = r#"mount --bind "$0" "$0/in a container"; exec "$@""#;
    let process = Process::spawn(with_mounts(script, folder.path(), &mounted)).await;
    process.kill().await;
}
