//! Holds the server to the conversations in `conversations/`; their README tells how to read them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use clap::Parser;
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_postgres::PostgresStorage;
use messenger_server::Settings;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use support::{Raw, TestServer};
use testing_servers::Postgres;
use tokio::io::AsyncWriteExt;

struct Conversation {
    server: TestServer,
    connections: HashMap<String, Raw>,
    bound: Map<String, Value>,
}

impl Conversation {
    async fn connection(&mut self, name: &str) -> &mut Raw {
        if !self.connections.contains_key(name) {
            let raw = self.server.connect().await;
            self.connections.insert(name.to_owned(), raw);
        }
        self.connections.get_mut(name).unwrap()
    }

    async fn line(&mut self, name: &str, what: &str, rest: &str) {
        match what {
            ">" => {
                let text = self.filled_in(rest);
                self.connection(name).await.send(&text).await;
            }
            "<" => {
                let frame = self.connection(name).await.frame().await;
                let expected: Value = serde_json::from_str(rest).expect("JSON");
                if let Err(fault) = self.compare(&expected, &frame) {
                    panic!("{fault}\nexpected {expected}\nfound    {frame}");
                }
            }
            "login" => {
                let sid = self.connection(name).await.log_in(rest).await;
                self.bound.insert(format!("{name}.sid"), sid.into());
            }
            "quiet" => {
                // An event on its way may come behind the first answer, but not behind the second.
                self.connection(name).await.probe().await;
                self.connection(name).await.probe().await;
            }
            "cut" => drop(self.connections.remove(name)),
            "eof" => self.connection(name).await.stream.shutdown().await.unwrap(),
            "closed" => {
                let more = self.connection(name).await.try_frame().await;
                assert_eq!(more, None, "the connection should be closed");
                self.connections.remove(name);
            }
            other => panic!("no such thing as {other:?}"),
        }
    }

    /// Puts in what was bound, and the repetitions.
    fn filled_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.bound {
            text = text.replace(&format!("\"${name}\""), &value.to_string());
        }
        let mut filled = String::new();
        for (index, part) in text.split('%').enumerate() {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            if index % 2 == 1 && digits > 0 {
                let count = part[..digits].parse().unwrap();
                filled.push_str(&part[digits..].repeat(count));
            } else {
                filled.push_str(part);
            }
        }
        filled
    }

    fn compare(&mut self, expected: &Value, found: &Value) -> Result<(), String> {
        match (expected, found) {
            (Value::String(text), _) if text == "*" => Ok(()),
            (Value::String(text), _) if text.starts_with('$') => {
                let name = text[1..].to_owned();
                let bound = self.bound.entry(name).or_insert_with(|| found.clone());
                if bound == found {
                    return Ok(());
                }
                Err(format!("{text} was {bound} before, and is {found} now"))
            }
            (Value::String(text), Value::String(found)) if text.starts_with('~') => {
                if found.contains(&text[1..]) {
                    return Ok(());
                }
                Err(format!("{found:?} does not contain {:?}", &text[1..]))
            }
            (Value::Object(expected), Value::Object(found)) => {
                let expected_keys: Vec<_> = expected.keys().collect();
                let keys: Vec<_> = found.keys().collect();
                if expected_keys != keys {
                    return Err(format!("the fields are {keys:?}, not {expected_keys:?}"));
                }
                for (key, value) in expected {
                    self.compare(value, &found[key])?;
                }
                Ok(())
            }
            (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
                for (expected, found) in expected.iter().zip(found) {
                    self.compare(expected, found)?;
                }
                Ok(())
            }
            (expected, found) if expected == found => Ok(()),
            (expected, found) => Err(format!("{found} is not {expected}")),
        }
    }
}

async fn hold(file: &str) {
    hold_on(Arc::new(MemoryStorage::new()), file).await;
}

async fn hold_on(storage: Arc<dyn Storage>, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conversations")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let flags = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("settings "));
    let flags = flags.unwrap_or_default().split_whitespace();
    let settings = Settings::parse_from(["messenger-server"].into_iter().chain(flags));
    let mut conversation = Conversation {
        server: TestServer::start_on(storage, settings.policy(), settings.transport()).await,
        connections: HashMap::new(),
        bound: Map::new(),
    };
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') || line.starts_with("settings ") {
            continue;
        }
        println!(
            "{file}:{number}: {}",
            line.chars().take(200).collect::<String>()
        );
        let (name, rest) = line.split_once(' ').expect("a name and what happens");
        let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        conversation.line(name, what, rest).await;
    }
}

macro_rules! conversations {
    ($($name:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            hold(concat!(stringify!($name), ".txt")).await;
        })*

        #[tokio::test(flavor = "multi_thread")]
        async fn all_are_held_on_a_database() {
            let postgres = Postgres::start().await;
            for file in [$(concat!(stringify!($name), ".txt"),)*] {
                let url = postgres.database().await;
                let storage = PostgresStorage::connect(&url).await.unwrap();
                hold_on(Arc::new(storage), file).await;
            }
        }

        #[test]
        fn every_file_is_held() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
            for file in std::fs::read_dir(folder).unwrap() {
                let file = file.unwrap().file_name().into_string().unwrap();
                let held = [$(concat!(stringify!($name), ".txt"),)* "README.md"];
                assert!(held.contains(&file.as_str()), "{file} is not held");
            }
        }
    };
}

conversations![
    ack,
    auth,
    auth_on_register,
    bad_input,
    contacts,
    devices,
    echo_off,
    ephemeral,
    import,
    import_region,
    inbox_limits,
    legacy,
    logout,
    lookalikes,
    message,
    mid,
    profile,
    register,
    sessions,
];
