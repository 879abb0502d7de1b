//! An engine on a store in a file, for tests of what is in the file.

use messenger_core::proto::{Auth, Register, SendMessage};
use messenger_core::{Connection, Engine, Policy};
use messenger_sqlite::SqliteStorage;
use std::path::Path;
use std::sync::Arc;

/// An engine on the store, as a server has it.
pub(crate) fn engine(path: &Path) -> Engine {
    let mut policy = Policy::default();
    policy.rates = None;
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let storage = Arc::new(SqliteStorage::open(path).unwrap());
    let engine = Engine::builder().storage(storage).policy(policy);
    engine.build().unwrap()
}

/// A new user who is there, and acknowledges.
pub(crate) async fn join(engine: &Engine, login: &str) -> Connection {
    let register = Register::new(login, "secret", format!("nick of {login}"));
    engine.connect().call(register).await.unwrap();
    let connection = engine.connect();
    let auth = Auth::new(login, "secret").ack();
    connection.call(auth).await.unwrap();
    connection
}

/// Sends a message, under a `mid` of its own.
pub(crate) async fn send(from: &Connection, to: &str, body: String, mid: usize) {
    let message = SendMessage::new(to, body).mid(mid.to_string());
    from.call(message).await.unwrap();
}
