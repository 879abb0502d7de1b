//! Engines on one database.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use messenger_core::clock::{Clock, SystemClock, Timestamp};
use messenger_core::proto::{Auth, Register, SendMessage};
use messenger_core::{Builder, Connection, Engine, Policy};
use messenger_postgres::PostgresStorage;
use std::sync::Arc;
use std::time::Duration;
use testing_servers::Postgres;
use tokio::time::timeout;

async fn builder(url: &str) -> Builder {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let storage = PostgresStorage::connect(url).await.unwrap();
    Engine::builder().policy(policy).storage(Arc::new(storage))
}

async fn join(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let account = Register::new(login, "secret", login);
    connection.call(account).await.unwrap();
    connection.call(Auth::new(login, "secret")).await.unwrap();
    connection
}

/// Much less than the minute in which a store that is nobody else's is looked into.
const LATE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_another_engine_does_is_seen_without_a_notifier() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let (here, there) = (builder(&url).await, builder(&url).await);
    let (here, there) = (here.build().unwrap(), there.build().unwrap());
    let mut bob = join(&there, "bob").await;
    let ann = join(&here, "ann").await;
    ann.call(SendMessage::new("bob", "hello")).await.unwrap();
    let event = timeout(LATE, bob.next_message()).await;
    event.expect("it comes within seconds").unwrap();
}

/// An hour ahead.
#[derive(Debug)]
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(Duration::from_secs(60 * 60))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_not_the_databases_is_told() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let right = builder(&url).await.build().unwrap().health().await;
    assert!(right.storage.is_ok() && right.clock.is_ok(), "{right:?}");
    let wrong = builder(&url).await.clock(Arc::new(Ahead));
    let wrong = wrong.build().unwrap().health().await;
    assert!(wrong.storage.is_ok(), "{wrong:?}");
    let told = wrong.clock.unwrap_err().to_string();
    assert!(told.contains("seconds apart: set them right"), "{told}");
}
