//! The operator's commands, beside a server that runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{ErrorCode, Password, SendMessage, SetUserInfo};
use messenger_client::{Client, ClientError, Events, connect};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use support::SOON;
use support::process::{Process, flags};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

struct World {
    folder: TempDir,
    server: Process,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Process::start(&folder.path().join("m.db")).await;
        Self { folder, server }
    }

    async fn join(&self, login: &str) -> (Client, Events) {
        let (client, events) = connect(&self.server.address).await.unwrap();
        let pass = Password::md5_of("secret");
        client.register(login, &pass, login).await.unwrap();
        client.auth(login, &pass).await.unwrap();
        (client, events)
    }

    async fn auth(&self, login: &str, pass: &Password) -> Option<ErrorCode> {
        let (client, _events) = connect(&self.server.address).await.unwrap();
        match client.auth(login, pass).await {
            Ok(_) => None,
            Err(ClientError::Refused(failure)) => Some(failure.code),
            Err(error) => panic!("{error}"),
        }
    }

    async fn run(&self, command: &[&str], input: &str) -> (Option<i32>, String) {
        run(&self.folder.path().join("m.db"), command, input).await
    }
}

/// Runs a command; its exit code and what it printed.
async fn run(store: &Path, command: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_messenger-server"))
        .args(command)
        .args(&flags(store)[2..])
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(SOON, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn users_are_listed_shown_and_exported() {
    let world = World::new().await;
    let (ann, _ann_events) = world.join("ann").await;
    let (bob, _bob_events) = world.join("bob").await;
    ann.send("bob", "hello").await.unwrap();
    bob.add_contact("ann").await.unwrap();
    assert_eq!(
        world.run(&["user", "list"], "").await,
        (Some(0), "ann\nbob\n".into())
    );
    let (code, shown) = world.run(&["user", "show", "bob"], "").await;
    assert_eq!(code, Some(0));
    assert!(
        shown.contains("nick: bob\n") && shown.contains("contacts: 1\n"),
        "{shown}"
    );
    let (code, export) = world.run(&["user", "export", "ann"], "").await;
    assert_eq!(code, Some(0));
    let export: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["login"], "ann");
    assert!(!export.to_string().contains("argon2"), "no hash");
    let (code, text) = world.run(&["user", "show", "eve"], "").await;
    assert_eq!(code, Some(1));
    assert!(text.contains("there is no user eve"), "{text}");
}

#[tokio::test]
async fn an_export_has_everything() {
    let world = World::new().await;
    world.join("ann").await;
    let (bob, _bob_events) = world.join("bob").await;
    // Nobody listens for ann, so it waits.
    let (ann, ann_events) = connect(&world.server.address).await.unwrap();
    drop((ann, ann_events));
    let (code, _) = world.run(&["session", "end", "ann", "all"], "").await;
    assert_eq!(code, Some(0));
    bob.send("ann", "while you were away").await.unwrap();
    let (_, export) = world.run(&["user", "export", "ann"], "").await;
    let export: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["inbox"][0]["body"], "while you were away");
    assert_eq!(export["inbox"][0]["seq"], 1);
    assert_eq!(export["sessions"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_user_is_deleted_beside_the_server() {
    let world = World::new().await;
    let (ann, ann_events) = world.join("ann").await;
    drop((ann, ann_events));
    let (bob, _events) = world.join("bob").await;
    bob.send("ann", "hello").await.unwrap();
    let deleted = world.run(&["user", "delete", "ann"], "").await;
    assert_eq!(deleted, (Some(0), "deleted ann\n".into()));
    let refused = bob.send("ann", "too late").await.unwrap_err();
    let ClientError::Refused(failure) = refused else {
        panic!("{refused}");
    };
    assert_eq!(failure.code, ErrorCode::UserNotFound);
    let pass = Password::md5_of("secret");
    assert_eq!(
        world.auth("ann", &pass).await,
        Some(ErrorCode::NeedRegister)
    );
    assert_eq!(world.run(&["user", "list"], "").await.1, "bob\n");
    assert_eq!(world.run(&["user", "delete", "ann"], "").await.0, Some(1));
    world.join("ann").await;
    bob.send("ann", "hello again").await.unwrap();
}

/// Whoever was deleted, and has a connection for a moment more, does nothing to the next one of the name.
#[tokio::test]
async fn the_next_of_a_deleted_users_name_has_nothing_to_do_with_the_one_before() {
    let world = World::new().await;
    let (bob, mut to_bob) = world.join("bob").await;
    let (gone, mut to_gone) = world.join("ann").await;
    let deleted = world.run(&["user", "delete", "ann"], "").await;
    assert_eq!(deleted.0, Some(0), "{}", deleted.1);
    let (next, mut to_next) = world.join("ann").await;
    let of_gone = SendMessage::new("bob", "of the gone").mid("m");
    let email = SetUserInfo::default().email("gone@example.org");
    let refused = [
        gone.send_message(of_gone).await.map(drop),
        gone.set_user_info(email).await,
        gone.add_contact("bob").await.map(drop),
        gone.contact_list().await.map(drop),
    ];
    for refused in refused {
        match refused {
            Err(ClientError::Refused(failure)) => assert_eq!(failure.code, ErrorCode::NeedAuth),
            // Told meanwhile.
            Err(ClientError::Closed) => {}
            other => panic!("{other:?}"),
        }
    }
    bob.send("ann", "for the next").await.unwrap();
    let of_next = SendMessage::new("bob", "of the next").mid("m");
    next.send_message(of_next).await.unwrap();
    let ended = timeout(SOON, to_gone.next()).await;
    let ended = ended.expect("its connection is closed");
    assert!(ended.is_err(), "given to the one before: {ended:?}");
    for body in ["for the next", "of the next"] {
        let event = timeout(SOON, to_next.next_message()).await.unwrap();
        assert_eq!(event.unwrap().message.body.as_str(), body);
    }
    let of_bob = ["for the next", "of the next"];
    for body in of_bob {
        let event = timeout(SOON, to_bob.next_message()).await.unwrap();
        assert_eq!(event.unwrap().message.body.as_str(), body);
    }
    assert_eq!(next.user_info("ann").await.unwrap().email, "");
    assert!(next.contact_list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_password_is_reset() {
    let world = World::new().await;
    world.join("ann").await;
    let reset = world
        .run(&["user", "reset-password", "ann"], "typed anew\n")
        .await;
    assert_eq!(reset.0, Some(0), "{}", reset.1);
    let old = Password::md5_of("secret");
    assert_eq!(world.auth("ann", &old).await, Some(ErrorCode::InvalidPass));
    assert_eq!(world.auth("ann", &"typed anew".into()).await, None);
    let reset = world
        .run(&["user", "reset-password", "ann", "--md5"], "again")
        .await;
    assert_eq!(reset.0, Some(0), "{}", reset.1);
    assert_eq!(world.auth("ann", &Password::md5_of("again")).await, None);
    let nothing = world.run(&["user", "reset-password", "ann"], "").await;
    assert_eq!(nothing.0, Some(1));
    assert!(nothing.1.contains("standard input"), "{}", nothing.1);
    let long = "x".repeat(1025);
    let refused = world.run(&["user", "reset-password", "ann"], &long).await;
    assert_eq!(refused.0, Some(1));
    assert!(refused.1.contains("the 1024 bytes"), "{}", refused.1);
    assert_eq!(world.auth("ann", &Password::md5_of("again")).await, None);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let world = World::new().await;
    world.join("ann").await;
    let pass = Password::md5_of("secret");
    let (client, _events) = connect(&world.server.address).await.unwrap();
    let accepted = client.auth("ann", &pass).await.unwrap();
    let (code, listed) = world.run(&["session", "list", "ann"], "").await;
    assert_eq!(code, Some(0));
    let ids: Vec<_> = listed.lines().map(|line| &line[..64]).collect();
    assert_eq!(ids.len(), 2);
    assert!(!listed.contains(accepted.sid.as_str()), "no secret");
    // The most recently used is first.
    let (code, _) = world
        .run(&["session", "end", "ann", &ids[0][..12]], "")
        .await;
    assert_eq!(code, Some(0));
    let (again, _events) = connect(&world.server.address).await.unwrap();
    let refused = again
        .resume(&accepted.uid, &accepted.sid)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    let (code, text) = world.run(&["session", "end", "ann", "zz"], "").await;
    assert_eq!(code, Some(1));
    assert!(text.contains("no session of ann begins with zz"), "{text}");
    let (_, listed) = world.run(&["session", "list", "ann"], "").await;
    assert_eq!(listed.lines().count(), 1);
    // Nothing is the beginning of everything, and was not meant to be.
    let (code, text) = world.run(&["session", "end", "ann", ""], "").await;
    assert_eq!(code, Some(2), "{text}");
    let (_, again) = world.run(&["session", "list", "ann"], "").await;
    assert_eq!(again, listed);
}

#[tokio::test]
async fn a_beginning_that_several_sessions_share_ends_none() {
    let world = World::new().await;
    world.join("ann").await;
    let list = async || {
        let (_, listed) = world.run(&["session", "list", "ann"], "").await;
        let mut ids: Vec<_> = listed.lines().map(|line| line[..64].to_owned()).collect();
        ids.sort();
        ids
    };
    // Sixteen digits, and one more session.
    let pass = Password::md5_of("secret");
    let (first, _events) = connect(&world.server.address).await.unwrap();
    let shared = loop {
        first.auth("ann", &pass).await.unwrap();
        let ids = list().await;
        let mut pairs = ids.windows(2).map(|pair| (&pair[0][..1], &pair[1][..1]));
        if let Some((digit, _)) = pairs.find(|(one, other)| one == other) {
            break digit.to_owned();
        }
    };
    let before = list().await;
    let (code, text) = world.run(&["session", "end", "ann", &shared], "").await;
    assert_eq!(code, Some(1));
    for id in before.iter().filter(|id| id.starts_with(&shared)) {
        assert!(text.contains(id), "{text}");
    }
    assert_eq!(list().await, before);
}

#[tokio::test]
async fn times_are_written_for_people() {
    let world = World::new().await;
    world.join("ann").await;
    let (_, listed) = world.run(&["session", "list", "ann"], "").await;
    let (_, used) = listed.split_once("used ").unwrap();
    let used = used.split(',').next().unwrap();
    assert_eq!(used.len(), "2026-01-31T12:00:00Z".len(), "{listed}");
    assert!(used.starts_with("20") && used.ends_with('Z'), "{listed}");
}

#[tokio::test]
async fn a_backup_says_what_it_wrote() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    let (code, text) = world.run(&["backup", copy], "").await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(copy) && text.contains("KiB"), "{text}");
    let (code, text) = world.run(&["backup", copy], "").await;
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("messenger-server: ") && text.contains("is there already"),
        "a sentence, not a line of the log: {text}"
    );
}

/// As it is typed on a terminal; whether a command succeeded, and what the terminal showed.
async fn on_a_terminal(world: &World, command: &str, answers: &[(&str, &str)]) -> (bool, String) {
    let store = world.folder.path().join("m.db");
    let binary = env!("CARGO_BIN_EXE_messenger-server");
    let command = format!("{binary} {command} --store sqlite:{}", store.display());
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script is installed (util-linux)");
    let mut keyboard = script.stdin.take().unwrap();
    let mut screen = script.stdout.take().unwrap();
    let mut shown = Vec::new();
    for (question, answer) in answers {
        let asked = async {
            while !String::from_utf8_lossy(&shown).contains(question) {
                let read = screen.read_buf(&mut shown).await.unwrap();
                assert_ne!(read, 0, "{}", String::from_utf8_lossy(&shown));
            }
        };
        timeout(SOON, asked).await.expect("a question");
        keyboard.write_all(answer.as_bytes()).await.unwrap();
        keyboard.write_all(b"\n").await.unwrap();
    }
    let ended = async {
        screen.read_to_end(&mut shown).await.unwrap();
        script.wait().await.unwrap()
    };
    let status = timeout(SOON, ended).await.expect("an end");
    (status.success(), String::from_utf8(shown).unwrap())
}

#[tokio::test]
async fn a_password_is_asked_for_twice_on_a_terminal_and_not_shown() {
    let world = World::new().await;
    world.join("ann").await;
    let command = "user reset-password ann";
    let typed = [("of ann: ", "typed anew"), ("Once more: ", "typed anew")];
    // Whoever types before the terminal was told to be silent is shown, and this types very soon behind the question.
    let mut tries = 0..10;
    loop {
        let (is_done, shown) = on_a_terminal(&world, command, &typed).await;
        assert!(is_done, "{shown}");
        if !shown.contains("typed") {
            break;
        }
        assert!(tries.next().is_some(), "{shown}");
    }
    assert_eq!(world.auth("ann", &"typed anew".into()).await, None);

    let typed = [("of ann: ", "one thing"), ("Once more: ", "another")];
    let (is_done, shown) = on_a_terminal(&world, command, &typed).await;
    assert!(!is_done && shown.contains("nothing was changed"), "{shown}");
    assert_eq!(world.auth("ann", &"typed anew".into()).await, None);
}

#[tokio::test]
async fn a_check_tells_by_its_exit_code() {
    let world = World::new().await;
    world.join("ann").await;
    let (code, text) = world.run(&["check"], "").await;
    assert_eq!(code, Some(0), "{text}");
    for (flags, sentence) in [
        (["--tls-listen", "127.0.0.1:0"], "all three or none"),
        (["--max-partial-frames", "1000"], "--max-partial-frames"),
    ] {
        let command = [["check"].as_slice(), &flags].concat();
        let (code, text) = world.run(&command, "").await;
        assert_eq!(code, Some(1));
        assert!(text.contains(sentence), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.db");
    std::fs::write(&broken, "no database".repeat(1000)).unwrap();
    assert_eq!(run(&broken, &["check"], "").await.0, Some(1));
    let none = folder.path().join("none.db");
    let (code, text) = run(&none, &["check"], "").await;
    assert_eq!(code, Some(1));
    assert!(text.contains("there is no store at"), "{text}");
    assert!(!none.exists(), "a check makes no store");
    for command in [["user", "list"], ["backup", "copy.db"]] {
        let (code, text) = run(&none, &command, "").await;
        assert_eq!(code, Some(1));
        assert!(text.contains("there is no store at"), "{text}");
        assert!(!none.exists());
    }
}

#[tokio::test]
async fn where_no_store_is_every_command_says_so_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new.db");
    let to = to.to_str().unwrap();
    for command in [
        &["check"][..],
        &["backup", to],
        &["restored"],
        &["salvage", to],
        &["user", "list"],
    ] {
        let (code, text) = run(&folder.path().join("none.db"), command, "").await;
        assert_eq!(code, Some(1), "{command:?}: {text}");
        assert!(text.contains("there is no store at"), "{command:?}: {text}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{command:?}");
    }
}

#[tokio::test]
async fn memory_has_no_operator() {
    let command = ["user", "list", "--store", "memory:"];
    let output = Command::new(env!("CARGO_BIN_EXE_messenger-server"))
        .args(command)
        .output();
    let output = timeout(SOON, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("needs a store that is kept"), "{text}");
}

/// What a command does beside the server, it notices: clients are not left waiting in silence.
#[tokio::test]
async fn connections_whose_session_a_command_has_ended_are_closed_within_a_second() {
    let world = World::new().await;
    world.join("ann").await;
    world.join("eve").await;
    let ends: [(&[&str], &str); 3] = [
        (&["session", "end", "ann"], ""),
        (&["user", "reset-password", "ann", "--md5"], "secret"),
        (&["user", "delete", "ann"], ""),
    ];
    let (other, mut others_events) = connect(&world.server.address).await.unwrap();
    other
        .auth("eve", &Password::md5_of("secret"))
        .await
        .unwrap();
    for (command, input) in ends {
        let (client, mut events) = connect(&world.server.address).await.unwrap();
        client
            .auth("ann", &Password::md5_of("secret"))
            .await
            .unwrap();
        let (_, listed) = world.run(&["session", "list", "ann"], "").await;
        let id = listed[..64].to_owned();
        let mut command = command.to_vec();
        if command[0] == "session" {
            command.push(&id);
        }
        let ended = world.run(&command, input).await;
        assert_eq!(ended.0, Some(0), "{}", ended.1);
        let closed = async { while events.next().await.is_ok() {} };
        let closed = timeout(Duration::from_secs(1), closed).await;
        assert!(closed.is_ok(), "still there after {command:?}");
    }
    let nothing = timeout(Duration::from_millis(1), others_events.next()).await;
    assert!(nothing.is_err(), "eve's connection goes on");
    other
        .call(messenger_client::proto::ContactList::new())
        .await
        .unwrap();
}

/// Sessions that are in no list end with the others.
#[tokio::test]
async fn connections_of_ephemeral_sessions_are_closed_with_all_others() {
    let world = World::new().await;
    world.join("ann").await;
    world.join("eve").await;
    let pass = Password::md5_of("secret");
    let (other, _others_events) = connect(&world.server.address).await.unwrap();
    other.auth_ephemeral("eve", &pass).await.unwrap();
    let ends: [(&[&str], &str); 3] = [
        (&["session", "end", "ann", "all"], ""),
        (&["user", "reset-password", "ann", "--md5"], "secret"),
        (&["session", "end", "ann", "all"], ""),
    ];
    for (command, input) in ends {
        let (client, mut events) = connect(&world.server.address).await.unwrap();
        client.auth_ephemeral("ann", &pass).await.unwrap();
        let ended = world.run(command, input).await;
        assert_eq!(ended.0, Some(0), "{}", ended.1);
        let closed = async { while events.next().await.is_ok() {} };
        let closed = timeout(SOON, closed).await;
        assert!(closed.is_ok(), "still there after {command:?}");
    }
    other
        .call(messenger_client::proto::ContactList::new())
        .await
        .unwrap();
}

/// The advice of a check is followed: what can be read is saved, and served.
#[tokio::test]
async fn what_can_be_read_of_a_damaged_store_is_saved() {
    let World { folder, server } = World::new().await;
    let address = server.address.clone();
    for number in 0..60 {
        let (client, _events) = connect(&address).await.unwrap();
        let (login, pass) = (format!("user{number:03}"), Password::md5_of("secret"));
        let nick = format!("nick {number:03}");
        client.register(&login, &pass, &nick).await.unwrap();
    }
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));
    let (store, saved) = (folder.path().join("m.db"), folder.path().join("saved.db"));
    let mut bytes = std::fs::read(&store).unwrap();
    let has =
        |page: &[u8], text: &str| page.windows(text.len()).any(|part| part == text.as_bytes());
    let is_of_users = |page: &[u8]| has(page, "user030") && has(page, "argon2");
    let page = bytes.chunks(4096).position(is_of_users).unwrap() * 4096;
    bytes[page..page + 4096].fill(0x5a);
    std::fs::write(&store, bytes).unwrap();

    let (code, text) = run(&store, &["check"], "").await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("is damaged") && text.contains("salvage"),
        "{text}"
    );
    let command = ["salvage", saved.to_str().unwrap()];
    let (code, text) = run(&store, &command, "").await;
    assert_eq!(code, Some(0), "{text}");
    let users = text.lines().find(|line| line.starts_with("users")).unwrap();
    let counts: Vec<usize> = users
        .split_whitespace()
        .skip(1)
        .map(|count| count.parse().unwrap())
        .collect();
    assert!(counts[0] > 20 && counts[1] > 0, "{text}");
    assert_eq!(counts[0] + counts[1], 60, "{text}");
    let (code, text) = run(&saved, &["check"], "").await;
    assert_eq!(code, Some(0), "{text}");
    let (_, users) = run(&saved, &["user", "list"], "").await;
    assert_eq!(users.lines().count(), counts[0]);
    let server = Process::start(&saved).await;
    let (client, _events) = connect(&server.address).await.unwrap();
    let (login, pass) = (users.lines().next().unwrap(), Password::md5_of("secret"));
    client.auth(login, &pass).await.unwrap();
    // And twice is once too often.
    let (code, text) = run(&store, &command, "").await;
    assert_eq!(code, Some(1));
    assert!(text.contains("is there already"), "{text}");
}
