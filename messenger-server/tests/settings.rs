//! Settings from a file, and what the program tells of itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("messenger.toml"), settings).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("messenger.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = run(arguments);
        command.env("MESSENGER_CONFIG", self.file());
        command
    }

    /// What `check` tells of a setting.
    fn setting(&self, arguments: &[&str], name: &str) -> Vec<String> {
        let arguments = [&["check"], arguments].concat();
        setting(&text(self.command(&arguments)), name)
    }
}

fn run(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("MESSENGER_STORE", "memory:");
    command
}

/// What it says when it ends well.
fn text(mut command: Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let complaint = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{complaint}");
    String::from_utf8(stdout).unwrap()
}

/// What it complains of when it does not.
fn complaint(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

fn setting(text: &str, name: &str) -> Vec<String> {
    let mut lines = text.lines().map(str::split_whitespace);
    let line = lines.find_map(|mut words| (words.next() == Some(name)).then_some(words));
    line.unwrap().map(ToOwned::to_owned).collect()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_file_sets_what_flags_and_variables_leave_open() {
    let folder = Folder::with(
        "max-frame = \"20MiB\"\nmax-name = 40\necho = false\n\
         proxy-from = [\"10.0.0.0/8\", \"192.0.2.1\"]\n",
    );
    let file = folder.file();
    assert_eq!(folder.setting(&[], "max-frame"), ["20MiB", name(&file)]);
    assert_eq!(folder.setting(&[], "echo"), ["false", name(&file)]);
    assert_eq!(
        folder.setting(&[], "proxy-from"),
        ["10.0.0.0/8,192.0.2.1", name(&file)]
    );
    assert_eq!(folder.setting(&[], "max-pass")[1], "default");
    assert_eq!(folder.setting(&[], "store"), ["memory:", "MESSENGER_STORE"]);
    assert_eq!(
        folder.setting(&["--max-frame", "30MiB"], "max-frame"),
        ["30MiB", "flag"]
    );
    let mut command = folder.command(&["check"]);
    command.env("MESSENGER_MAX_NAME", "50");
    assert_eq!(
        setting(&text(command), "max-name"),
        ["50", "MESSENGER_MAX_NAME"]
    );
}

#[test]
fn a_server_keeps_to_its_file() {
    let folder = Folder::with("listen = \"nowhere\"\n");
    let told = complaint(folder.command(&[]));
    assert!(told.contains("messenger.toml"), "{told}");
    assert!(told.contains("--listen"), "{told}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_what_is_wrong() {
    for (settings, wrong) in [
        ("max-frames = 1\n", "max-frames"),
        ("help = true\n", "help"),
        ("config = \"other.toml\"\nmax-name = 40\n", "config"),
        ("max-name = 1.5\n", "max-name"),
        ("[limits]\nmax-name = 40\n", "limits"),
        ("max-name = 40\nmax-name = 41\n", "line 2"),
        ("max-name = \n", "line 1"),
    ] {
        let told = complaint(Folder::with(settings).command(&["check"]));
        assert!(told.contains(wrong), "{settings}: {told}");
        assert!(told.contains("messenger.toml"), "{settings}: {told}");
    }
    let told = complaint(run(&["--config", "/nowhere/messenger.toml"]));
    assert!(told.contains("/nowhere/messenger.toml"), "{told}");
}

#[test]
fn passwords_in_a_file_are_not_shown() {
    let secret = "correct-horse";
    let store = format!("store = \"postgres://me:{secret}@127.0.0.1:1/db\"\n");
    let torn = store.replace("db\"", "db");
    for settings in [&store, &torn] {
        let folder = Folder::with(settings);
        let mut command = folder.command(&["check"]);
        command.env_remove("MESSENGER_STORE");
        let Output { stdout, stderr, .. } = command.output().unwrap();
        let told = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(!told.is_empty());
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn shells_and_manuals_are_told_of_every_flag() {
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"]] {
        let script = text(run(arguments));
        assert!(script.contains("--max-frame"), "{script}");
        assert!(script.contains("reset-password"), "{script}");
    }
    let page = text(run(&["man"]));
    assert!(page.starts_with(".ie"), "{page}");
    assert!(page.contains("max\\-frame"), "{page}");
}
