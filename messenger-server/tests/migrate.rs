//! A store in a file that is moved to a database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_client::proto::{Attachment, ImportEntry, Password, SendMessage, SetUserInfo};
use messenger_client::{Client, Events, connect};
use messenger_core::storage::{Accounts, PageLimits, Storage};
use messenger_postgres::PostgresStorage;
use messenger_sqlite::SqliteStorage;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use support::SOON;
use support::process::Process;
use tempfile::TempDir;
use testing_servers::{DEADLINE, Postgres};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// A text that PostgreSQL cannot keep as it is.
const ODD: &str = "a\0b\u{1}c\u{1}\u{2}\u{10ffff}";

fn store(folder: &TempDir) -> PathBuf {
    folder.path().join("messenger.db")
}

fn migrate(from: &Path, to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    let from = format!("sqlite:{}", from.display());
    command.args(["migrate", "--from", &from, "--to", to]);
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

/// What it says when it has done it.
async fn migrated(from: &Path, to: &str) -> String {
    let ended = migrate(from, to).output().await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

/// Why it did not.
async fn refused(from: &Path, to: &str) -> String {
    why(&migrate(from, to).output().await.unwrap())
}

fn why(ended: &Output) -> String {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

/// Tries to start a server; why there is none.
async fn not_started(store: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(support::process::flags(store));
    command.env("MESSENGER_METRICS_LISTEN", "off");
    why(&command.output().await.unwrap())
}

async fn serve(database: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(["--listen", "127.0.0.1:0", "--store", database]);
    Process::spawn(command).await
}

async fn join(server: &Process, login: &str) -> (Client, Events) {
    let (client, events) = connect(&server.address).await.unwrap();
    let pass = Password::md5_of("secret");
    let nick = format!("Nick {login}");
    client.register(login, &pass, &nick).await.unwrap();
    (client, events)
}

/// Some of everything that is kept, in a file that no server uses any more; and bob's session, who has not seen the
/// last three messages to him.
async fn fill(store: &Path) -> String {
    let server = Process::start(store).await;
    let pass = Password::md5_of("secret");
    let (ann, _events) = join(&server, "ann").await;
    ann.auth("ann", &pass).await.unwrap();
    let (bob, mut to_bob) = join(&server, "bob").await;
    let accepted = bob.auth_with_ack("bob", &pass).await.unwrap();
    let change = SetUserInfo::new()
        .email("Bob@Example.org")
        .phone("+7 999 123-45-67")
        .user_status(ODD)
        .picture("AAAA");
    bob.set_user_info(change).await.unwrap();
    ann.add_contact("bob").await.unwrap();
    let entry = ImportEntry::new(ODD).email("bob@example.org");
    assert_eq!(ann.import(vec![entry]).await.unwrap().len(), 1);
    // Of whom nothing is left but that there was one.
    let (gone, _events) = join(&server, "gone").await;
    gone.auth("gone", &pass).await.unwrap();

    let first = SendMessage::new("bob", "the first").mid("first");
    ann.send_message(first).await.unwrap();
    let seen = timeout(SOON, to_bob.next_message()).await.unwrap().unwrap();
    bob.ack(seen.seq.unwrap()).await.unwrap();
    drop((bob, to_bob));
    let large = Attachment::new("image/png", "QUJD".repeat(1024 * 1024));
    ann.send_message(SendMessage::new("bob", "large").attach(large))
        .await
        .unwrap();
    ann.send_message(SendMessage::new("bob", ODD).mid(ODD))
        .await
        .unwrap();
    ann.send_message(SendMessage::new("bob", "the last").mid("last"))
        .await
        .unwrap();
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));

    let storage = SqliteStorage::open(store).unwrap();
    assert!(storage.delete_user(&"gone".into()).await.unwrap());
    storage
        .upsert_external_user(&"ext".into(), "Elsewhere")
        .await
        .unwrap();
    storage.end_ephemeral(&"ann".into()).await.unwrap();
    accepted.sid.as_str().to_owned()
}

async fn assert_same(file: &SqliteStorage, database: &PostgresStorage) {
    let users = file.users(None, 100).await.unwrap();
    assert_eq!(users.len(), 3);
    assert_eq!(users, database.users(None, 100).await.unwrap());
    let page = PageLimits::new(100, usize::MAX);
    for user in &users {
        let number = file.user_number(user).await.unwrap();
        assert_eq!(number, database.user_number(user).await.unwrap());
        let mut kept = file.user_data(user).await.unwrap().unwrap();
        let mut moved = database.user_data(user).await.unwrap().unwrap();
        kept.sessions.sort_by_key(|(key, _)| key.0);
        moved.sessions.sort_by_key(|(key, _)| key.0);
        assert_eq!(kept, moved);
        let messages = file.inbox(user, 0, page).await.unwrap();
        // Too large to be shown.
        assert!(messages == database.inbox(user, 0, page).await.unwrap());
        let account = file.account(user.as_str()).await.unwrap();
        assert!(account == database.account(user.as_str()).await.unwrap());
        let ended = database.ephemeral_ended(user).await.unwrap();
        assert_eq!(file.ephemeral_ended(user).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn everything_is_in_the_database_and_sessions_go_on() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = store(&folder);
    let sid = fill(&file).await;
    let copy = folder.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    let copy = SqliteStorage::open(&copy).unwrap();

    let told = migrated(&file, &database).await;
    let counts: Vec<&str> = told
        .lines()
        .filter_map(|line| line.get(..28))
        .take(7)
        .collect();
    let wanted = [
        "users                      3",
        "contacts                   1",
        "remembered ids             1",
        "inboxes                    3",
        "sessions                   2",
        "messages                   3",
        "mids                       3",
    ];
    assert_eq!(counts, wanted, "{told}");
    {
        let moved = PostgresStorage::connect(&database).await.unwrap();
        assert_same(&copy, &moved).await;
        let client = postgres.client("messenger0").await;
        let count = "SELECT count(*) FROM unchecked";
        let unchecked = async || -> i64 { client.query_one(count, &[]).await.unwrap().get(0) };
        assert_eq!(unchecked().await, 0, "all are right");
        // Whoever comes now is not taken for the one who is gone.
        moved
            .upsert_external_user(&"new".into(), "New")
            .await
            .unwrap();
        let number = moved.user_number(&"new".into()).await.unwrap().unwrap();
        let last = copy.user_number(&"ext".into()).await.unwrap().unwrap();
        assert!(number > last, "{number:?}");
        assert_eq!(unchecked().await, 1, "and looked at again");
    }

    let server = serve(&database).await;
    let (ann, _events) = connect(&server.address).await.unwrap();
    ann.auth("ann", &Password::md5_of("secret")).await.unwrap();
    // Sent again by someone who has not heard that it was stored.
    let again = ann
        .send_message(SendMessage::new("bob", ODD).mid(ODD))
        .await
        .unwrap();
    let sent = ann
        .send_message(SendMessage::new("bob", "on the database"))
        .await
        .unwrap();
    assert_ne!(again.id, sent.id);
    let (bob, mut events) = connect(&server.address).await.unwrap();
    bob.resume(&"bob".into(), &sid.into()).await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..4 {
        let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
        unread.push((event.seq.unwrap(), event.message.body.as_str().to_owned()));
    }
    let wanted = [
        (2, "large"),
        (3, ODD),
        (4, "the last"),
        (5, "on the database"),
    ];
    assert_eq!(unread, wanted.map(|(seq, body)| (seq, body.to_owned())));
}

#[tokio::test]
async fn a_move_that_is_killed_at_any_point_is_done_again() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = store(&folder);
    fill(&file).await;
    let copy = folder.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    // After each line that it says: a table is there, and the next is being moved.
    for lines in 0..=7 {
        let mut moving = migrate(&file, &database)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(moving.stdout.take().unwrap()).lines();
        for _ in 0..lines {
            timeout(DEADLINE, told.next_line()).await.unwrap().unwrap();
        }
        moving.kill().await.unwrap();
    }
    // The last may have been done before it was killed.
    let told = migrated(&file, &database).await;
    assert!(told.contains("moved"), "{told}");
    let moved = PostgresStorage::connect(&database).await.unwrap();
    assert_same(&SqliteStorage::open(&copy).unwrap(), &moved).await;
    drop(moved);
    let told = migrated(&file, &database).await;
    assert!(
        told.contains("was moved to") && told.contains("before"),
        "{told}"
    );
}

#[tokio::test]
async fn no_server_is_on_a_file_that_was_moved_unless_it_is_restored() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = store(&folder);
    drop(SqliteStorage::open(&file).unwrap());
    migrated(&file, &database).await;
    let why = not_started(&file).await;
    assert!(why.contains("was moved to a database"), "{why}");

    let mut restored = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    restored.args(["restored", "--store", &format!("sqlite:{}", file.display())]);
    assert!(restored.status().await.unwrap().success());
    Process::start(&file).await;
}

#[tokio::test]
async fn what_is_in_use_or_full_is_refused() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = store(&folder);
    let told = refused(&file, &database).await;
    assert!(told.contains("there is no store at"), "{told}");

    let server = Process::start(&file).await;
    let told = refused(&file, &database).await;
    assert!(told.contains("is in use by another server"), "{told}");
    server.signal("TERM").await;
    server.ended().await;

    let server = serve(&database).await;
    let told = refused(&file, &database).await;
    assert!(told.contains("a server uses the database"), "{told}");
    join(&server, "ann").await;
    server.signal("TERM").await;
    server.ended().await;
    let told = refused(&file, &database).await;
    assert!(
        told.contains("there are users in the database already"),
        "{told}"
    );
    // A refusal has done nothing.
    Process::start(&file).await;

    let told = refused(&file, "memory:").await;
    assert!(
        told.contains("--from sqlite:PATH --to postgres://"),
        "{told}"
    );
}

/// What is done to a table once rows were written to it, and before they are read again. (It has to be done by the database
/// itself: nobody else sees them before all is over.)
const SPOILT: [(&str, &str, &str); 10] = [
    (
        "users",
        "users",
        "UPDATE users SET nick = nick || '!' WHERE login = 'ann'",
    ),
    ("users", "users", "DELETE FROM users WHERE login = 'ext'"),
    ("contacts", "contacts", "DELETE FROM contacts"),
    ("remembered ids", "myids", "UPDATE myids SET myid = ''"),
    (
        "inboxes",
        "inboxes",
        "UPDATE inboxes SET newest = newest + 1",
    ),
    (
        "sessions",
        "sessions",
        "UPDATE sessions SET used_us = used_us + 1",
    ),
    (
        "messages",
        "messages",
        "UPDATE messages SET body = body || '!' WHERE seq = 4",
    ),
    (
        "messages",
        "messages",
        "UPDATE messages SET body = other.body FROM messages other
         WHERE messages.seq <> other.seq AND messages.seq IN (3, 4) AND other.seq IN (3, 4)",
    ),
    ("messages", "messages", "DELETE FROM messages WHERE seq = 2"),
    ("mids", "mids", "UPDATE mids SET digest = ''"),
];

#[tokio::test]
async fn what_is_not_in_the_database_as_it_was_read_is_not_moved() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let folder = tempfile::tempdir().unwrap();
    let file = store(&folder);
    fill(&file).await;
    drop(PostgresStorage::connect(&database).await.unwrap());
    let (_, name) = database.rsplit_once('/').unwrap();
    let client = postgres.client(name).await;
    for (what, table, spoil) in SPOILT {
        let plant = format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {spoil}; RETURN NULL; END $$;
             CREATE TRIGGER spoil AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION spoil()"
        );
        client.batch_execute(&plant).await.unwrap();
        let told = refused(&file, &database).await;
        let why = format!("the {what} in the database are not those of the file");
        assert!(told.contains(&why), "{spoil}: {told}");
        let undo = "DROP FUNCTION spoil CASCADE";
        client.batch_execute(undo).await.unwrap();
    }
    // A refusal has done nothing.
    Process::start(&file).await.kill().await;
    migrated(&file, &database).await;
}
