//! The program as its user meets it: on a terminal of its own, against a server in this process.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_client::proto::{Attachment, Password, SendMessage};
use messenger_client::{Client, Events, connect};
use messenger_core::storage::MemoryStorage;
use messenger_core::{Engine, Policy};
use messenger_server::{Server, Tls, Transport};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rexpect::session::{PtySession, spawn_command};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);

/// A server, and a folder for all that is written.
struct World {
    runtime: Runtime,
    storage: Arc<MemoryStorage>,
    server: Option<Server>,
    address: SocketAddr,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut world = Self {
            runtime,
            storage: Arc::new(MemoryStorage::new()),
            server: None,
            address: "127.0.0.1:0".parse().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        world.start();
        world
    }

    /// Starts the server, at the same place if there was one.
    fn start(&mut self) {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let _guard = self.runtime.enter();
        let storage = Arc::clone(&self.storage);
        let engine = Engine::builder().storage(storage).policy(policy);
        let server = Server::new(engine.build().unwrap(), Transport::default());
        let listener = self
            .runtime
            .block_on(TcpListener::bind(self.address))
            .unwrap();
        self.address = listener.local_addr().unwrap();
        self.server = Some(server.clone());
        self.runtime
            .spawn(async move { server.serve(listener, std::future::pending()).await });
    }

    fn stop(&mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.drain());
    }

    fn command(&self, login: &str, arguments: &[&str]) -> Command {
        self.command_to(&self.address.to_string(), login, arguments)
    }

    fn command_to(&self, server: &str, login: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger"));
        command
            .args([login, "--server", server])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        command
    }

    fn terminal(&self, login: &str, arguments: &[&str]) -> PtySession {
        let milliseconds = u64::try_from(SOON.as_millis()).unwrap();
        spawn_command(self.command(login, arguments), Some(milliseconds)).unwrap()
    }

    /// A terminal at which somebody has an account now.
    fn registered(&self, login: &str) -> PtySession {
        let mut terminal = self.terminal(login, &[]);
        see(&mut terminal, "Password of");
        terminal.send_line("secret").unwrap();
        see(&mut terminal, "The name others will see");
        terminal.send_line(&format!("Nick of {login}")).unwrap();
        see(&mut terminal, "You are");
        terminal
    }

    /// Somebody with another program.
    fn other(&self, login: &str) -> (Client, Events) {
        self.runtime.block_on(async {
            let (client, events) = connect(self.address).await.unwrap();
            let pass = Password::md5_of("secret");
            let _ = client
                .register(login, &pass, &format!("Nick of {login}"))
                .await;
            client.auth(login, &pass).await.unwrap();
            (client, events)
        })
    }

    fn send(&self, client: &Client, to: &str, body: &str) {
        self.runtime.block_on(client.send(to, body)).unwrap();
    }

    /// The body of the next message from somebody else.
    fn heard(&self, events: &mut Events) -> String {
        self.runtime.block_on(async {
            loop {
                let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
                if event.seq.is_some() {
                    return event.message.body.as_str().to_owned();
                }
            }
        })
    }
}

/// Waits until that is on the terminal, and gives what came before.
fn see(terminal: &mut PtySession, text: &str) -> String {
    terminal.exp_string(text).unwrap()
}

/// The text as rexpect reads it, which takes each byte for a character.
fn as_read(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

fn leave(mut terminal: PtySession) {
    terminal.send_line("/quit").unwrap();
    terminal.exp_eof().unwrap();
}

#[test]
fn two_people_talk_and_a_half_typed_line_stays() {
    let world = World::new();
    let (bob, mut from_ann) = world.other("bob");
    let mut ann = world.terminal("ann", &[]);
    see(&mut ann, "Password of ann: ");
    ann.send_line("secret").unwrap();
    let shown = see(&mut ann, "The name others will see: ");
    assert!(!shown.contains("secret"), "{shown}");
    ann.send_line("Ann").unwrap();
    see(&mut ann, "(nobody)> ");
    ann.send_line("/to bob").unwrap();
    see(&mut ann, "You talk to Nick of bob (bob).");
    see(&mut ann, "bob> ");
    ann.send("hel").unwrap();
    ann.flush().unwrap();
    see(&mut ann, "hel");
    world.send(&bob, "ann", "are you there?");
    see(&mut ann, "Nick of bob (bob)");
    see(&mut ann, ": are you there?");
    see(&mut ann, "bob> hel");
    ann.send_line("lo").unwrap();
    assert_eq!(world.heard(&mut from_ann), "hello");
    leave(ann);
}

#[test]
fn a_restart_of_the_server_is_shown_and_outlived() {
    let mut world = World::new();
    let (_bob, _) = world.other("bob");
    let mut ann = world.registered("ann");
    ann.send_line("/to bob").unwrap();
    see(&mut ann, "You talk to");
    world.stop();
    see(&mut ann, "The connection is lost");
    ann.send_line("written meanwhile").unwrap();
    see(
        &mut ann,
        "There is no connection; it is sent when there is one.",
    );
    world.start();
    see(&mut ann, "Connected again.");
    let (bob, mut from_ann) = world.other("bob");
    world.send(&bob, "ann", "welcome back");
    see(&mut ann, "welcome back");
    assert_eq!(world.heard(&mut from_ann), "written meanwhile");
    leave(ann);
}

#[test]
fn the_next_time_needs_no_password_and_shows_what_came_meanwhile_once() {
    let world = World::new();
    let (bob, _) = world.other("bob");
    let mut ann = world.registered("ann");
    world.send(&bob, "ann", "the first");
    see(&mut ann, "the first");
    leave(ann);
    world.send(&bob, "ann", "the second");
    let mut ann = world.terminal("ann", &[]);
    let shown = see(&mut ann, "the second");
    assert!(
        !shown.contains("Password") && !shown.contains("the first"),
        "{shown}"
    );
    // Another window is a device of its own, which has to log in.
    let mut second = world.terminal("ann", &[]);
    see(&mut second, "in another window");
    see(&mut second, "Password of ann");
    second.send_line("secret").unwrap();
    see(&mut second, "You are ann");
    world.send(&bob, "ann", "the third");
    see(&mut ann, "the third");
    see(&mut second, "the third");
    leave(second);
    ann.send_line("/logout").unwrap();
    ann.exp_eof().unwrap();
    let mut ann = world.terminal("ann", &[]);
    see(&mut ann, "Password of ann");
}

#[test]
fn what_a_terminal_obeys_is_only_shown() {
    let world = World::new();
    let (bob, _) = world.other("bob");
    let mut ann = world.registered("ann");
    world.send(
        &bob,
        "ann",
        "\x1b]0;owned\x07\x1b[2J\u{9b}1A\nAnn (ann): forged",
    );
    let before = see(
        &mut ann,
        &as_read("\u{241b}]0;owned\u{2407}\u{241b}[2J\u{fffd}1A"),
    );
    assert!(!before.contains("\x1b]0;"), "{before:?}");
    see(&mut ann, "| Ann (ann): forged");
    leave(ann);
}

#[test]
fn files_are_sent_and_saved() {
    let world = World::new();
    let (bob, mut from_ann) = world.other("bob");
    let mut ann = world.registered("ann");
    let photo = world.folder.path().join("photo.png");
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    fs::write(&photo, &bytes).unwrap();
    ann.send_line("/to bob").unwrap();
    see(&mut ann, "You talk to");
    ann.send_line("/send nothing.png").unwrap();
    see(&mut ann, "Cannot send nothing.png");
    ann.send_line("/send photo.png").unwrap();
    see(&mut ann, "photo.png [");
    see(&mut ann, "photo.png is sent.");
    assert_eq!(world.heard(&mut from_ann), "photo.png");
    let attach = Attachment::new("image/png", "AQIDBA==");
    let message = SendMessage::new("ann", "../photo.png").attach(attach);
    world.runtime.block_on(bob.send_message(message)).unwrap();
    see(&mut ann, "/save 1]");
    ann.send_line("/save").unwrap();
    see(&mut ann, "Saved as file.png.");
    assert_eq!(
        fs::read(world.folder.path().join("file.png")).unwrap(),
        [1, 2, 3, 4]
    );
    ann.send_line("/save 1 photo.png").unwrap();
    see(&mut ann, "Saved as photo (2).png.");
    assert_eq!(fs::read(photo).unwrap(), bytes);
    let attach = Attachment::new("application/pdf; name=\"report.pdf\"", "AQIDBA==");
    let message = SendMessage::new("ann", "").attach(attach);
    world.runtime.block_on(bob.send_message(message)).unwrap();
    see(&mut ann, "/save 2]");
    ann.send_line("/save 2").unwrap();
    see(&mut ann, "Saved as report.pdf.");
    ann.send_line("/save 7").unwrap();
    see(&mut ann, "There is no such file");
    leave(ann);
}

#[test]
fn people_are_found_added_counted_and_removed() {
    let world = World::new();
    let (bob, _) = world.other("bob");
    let mut ann = world.registered("ann");
    ann.send_line("/contacts").unwrap();
    see(&mut ann, "You have no contacts yet.");
    ann.send_line("/profile email = ann@example.org").unwrap();
    see(&mut ann, "email: ann@example.org");
    ann.send_line("/find ann@example.org").unwrap();
    see(&mut ann, "(ann)");
    ann.send_line("/find nobody@example.org").unwrap();
    see(&mut ann, "Nobody is found by nobody@example.org.");
    ann.send_line("/add bob").unwrap();
    see(&mut ann, "is in your contacts.");
    ann.send_line("/add nobody").unwrap();
    see(&mut ann, "That did not work");
    for body in ["one", "two"] {
        world.send(&bob, "ann", body);
        see(&mut ann, body);
    }
    ann.send_line("/contacts").unwrap();
    see(&mut ann, "(2 unread)");
    ann.send_line("/to bob").unwrap();
    see(&mut ann, "You talk to");
    ann.send_line("/remove bob").unwrap();
    see(&mut ann, "bob is not in your contacts.");
    ann.send_line("/contacts").unwrap();
    let shown = see(&mut ann, "You have no contacts yet.");
    assert!(!shown.contains("unread"), "{shown}");
    ann.send_line("/profile bob").unwrap();
    see(&mut ann, "Nick of bob");
    ann.send_line("/dance").unwrap();
    see(&mut ann, "/to NAME");
    leave(ann);
}

#[test]
fn a_wrong_password_is_told_three_times() {
    let world = World::new();
    world.other("ann");
    let mut ann = world.terminal("ann", &[]);
    for _ in 0..3 {
        see(&mut ann, "Password of ann: ");
        ann.send_line("guess").unwrap();
        see(&mut ann, "That is not the password of ann.");
    }
    see(&mut ann, "You are not let in.");
    ann.exp_eof().unwrap();
}

#[test]
fn a_session_that_is_ended_elsewhere_ends_with_a_sentence_or_begins_anew() {
    let world = World::new();
    world.other("bob");
    let mut ann = world.registered("ann");
    let engine = world.server.as_ref().unwrap().engine().clone();
    let login = "ann".into();
    // The password is remembered while the program runs.
    world.runtime.block_on(engine.end_sessions(&login)).unwrap();
    see(&mut ann, "The connection is lost");
    see(&mut ann, "Connected again.");
    leave(ann);
    // The next run does not know it.
    let mut ann = world.terminal("ann", &[]);
    see(&mut ann, "You are ann");
    world.runtime.block_on(engine.end_sessions(&login)).unwrap();
    see(&mut ann, "It ends here: the session was ended.");
    ann.exp_eof().unwrap();
}

#[test]
fn a_certificate_is_checked() {
    let world = World::new();
    let folder = world.folder.path();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = made;
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("ca.pem"), cert.pem()).unwrap();
    let tls = Tls::load(&folder.join("ca.pem"), &folder.join("key.pem")).unwrap();
    let listener = world
        .runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = world.server.clone().unwrap();
    world.runtime.spawn(async move {
        server
            .serve_tls(listener, tls, std::future::pending())
            .await
    });
    let server = format!("localhost:{port}");
    world.other("ann");
    let connect = |more: &[&str]| {
        let mut command = world.command_to(&server, "ann", &["--tls", "--forget"]);
        command.args(more);
        spawn_command(command, Some(60_000)).unwrap()
    };
    let mut ann = connect(&["--ca", "ca.pem"]);
    see(&mut ann, "Password of ann: ");
    ann.send_line("secret").unwrap();
    see(&mut ann, "You are ann");
    leave(ann);
    let mut ann = connect(&["--ca", "key.pem"]);
    see(&mut ann, "the certificates to trust cannot be read");
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("other.pem"), other.cert.pem()).unwrap();
    let mut ann = connect(&["--ca", "other.pem"]);
    see(&mut ann, "Password of ann: ");
    ann.send_line("secret").unwrap();
    see(&mut ann, "invalid peer certificate");
    ann.exp_eof().unwrap();
}

#[test]
fn without_a_terminal_there_are_lines_and_no_colours() {
    let world = World::new();
    let (_bob, mut from_ann) = world.other("bob");
    world.other("ann");
    let mut ann = world
        .command("ann", &["--forget"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let typed = b"secret\n/to bob\nhello\n/contacts\n";
    ann.stdin.take().unwrap().write_all(typed).unwrap();
    let output = ann.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains("You talk to Nick of bob (bob).\n"),
        "{shown}"
    );
    assert!(
        !shown.contains('\x1b') && !shown.contains("bob> "),
        "{shown}"
    );
    assert_eq!(world.heard(&mut from_ann), "hello");
}

#[test]
fn colours_are_off_where_they_are_not_wanted() {
    let world = World::new();
    let (bob, _) = world.other("bob");
    world.other("ann");
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        let mut command = world.command("ann", &["--forget"]);
        if !no_color.is_empty() {
            command.env("NO_COLOR", no_color);
        }
        let mut ann = spawn_command(command, Some(60_000)).unwrap();
        see(&mut ann, "Password of ann: ");
        ann.send_line("secret").unwrap();
        see(&mut ann, "You are ann");
        world.send(&bob, "ann", "in colour?");
        let before = see(&mut ann, "in colour?");
        assert_eq!(
            before.contains("\x1b[1m\x1b[32mNick of bob"),
            is_coloured,
            "{before:?}"
        );
        leave(ann);
    }
}
