//! A server on a store in a file, started with flags, that can be started again.

use crate::wire::{Wire, wire};
use clap::Parser;
use messenger_client::proto::{Password, SendMessage};
use messenger_client::{Client, Events, over};
use messenger_core::Engine;
use messenger_server::{Server, Settings};
use messenger_sqlite::SqliteStorage;
use std::path::Path;
use std::sync::Arc;
use tokio::io::duplex;

pub(crate) struct Restartable {
    server: Server,
}

impl Restartable {
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        let program = ["messenger-server", "--no-rate-limits"];
        let settings = Settings::parse_from(program.iter().chain(flags));
        let mut policy = settings.policy();
        // Passwords as cheap as they get.
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let storage = SqliteStorage::open(folder.join("messenger.db")).unwrap();
        let engine = Engine::builder().storage(Arc::new(storage)).policy(policy);
        let server = Server::new(engine.build().unwrap(), settings.transport());
        Self { server }
    }

    /// Stops in good order: nobody is cut.
    pub(crate) async fn stop(self) {
        assert_eq!(self.server.drain().await.cut, 0);
    }

    /// A connection of a deployed client.
    pub(crate) fn connect(&self) -> Wire {
        let (wire, stream) = wire();
        tokio::spawn(self.server.connection(stream));
        wire
    }

    /// A client of today, on its own connection.
    pub(crate) async fn connect_modern(&self) -> (Client, Events) {
        let (client, stream) = duplex(64 * 1024);
        tokio::spawn(self.server.connection(stream));
        over(client).await.unwrap()
    }
}

pub(crate) fn pass() -> Password {
    Password::from("secret")
}

/// Sends all of these to a user, one behind the other without waiting.
pub(crate) async fn send_all(client: &Client, to: &str, bodies: &[String]) {
    let messages = bodies
        .iter()
        .map(|body| SendMessage::new(to, body.as_str()));
    let sending = messages.map(|message| client.send_message(message));
    for sent in futures_util::future::join_all(sending).await {
        sent.unwrap();
    }
}
