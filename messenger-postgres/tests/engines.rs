//! Engines on one database.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use messenger_core::clock::{Clock, SystemClock, Timestamp};
use messenger_core::proto::{
    Auth, ErrorCode, Import, ImportEntry, Register, SendMessage, SetUserInfo,
};
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

/// An engine of a server whose phone numbers are of this region, and which refuses logins that look like others.
async fn engine_in(region: &str, url: &str) -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy.region = region.parse().unwrap();
    policy.refuse_lookalikes = true;
    let storage = PostgresStorage::connect(url).await.unwrap();
    let engine = Engine::builder().policy(policy).storage(Arc::new(storage));
    engine.build().unwrap()
}

/// Who is found by a phone number.
async fn found(connection: &Connection, phone: &str) -> Vec<String> {
    let entries = vec![ImportEntry::new("1").phone(phone)];
    let found = connection.call(Import::new(entries)).await.unwrap();
    let found = found.iter();
    found.map(|contact| contact.card.uid.to_string()).collect()
}

/// What an upgrade one server after the other is relied on for: what an old one has written meanwhile is right in the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_of_another_rule_writes_is_computed_anew() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let old = engine_in("GB", &url).await;
    let mut users = Vec::new();
    for login in ["ann", "bob", "carol"] {
        users.push(join(&old, login).await);
    }
    let set = async |user: usize, phone: &str| {
        let change = SetUserInfo::new().phone(phone);
        users[user].call(change).await.unwrap();
    };
    set(0, "0171 2345670").await;
    set(1, "0171 2345671").await;

    let new = engine_in("DE", &url).await;
    let eve = join(&new, "eve").await;
    assert_eq!(found(&eve, "+49 171 2345671").await, ["bob"]);
    // By a server of the first version, which says nothing of what it goes by.
    set(0, "0171 2345672").await;
    set(2, "0171 2345673").await;
    let older = "
        SELECT create_account_v1('paypal', 'pal', 'hash', 'as older tables have it', false);
        UPDATE users SET email = 'p@example.org', email_key = 'as an older rule has it' WHERE login = 'paypal'";
    let client = postgres.client("messenger0").await;
    client.batch_execute(older).await.unwrap();
    assert_eq!(found(&eve, "+49 171 2345672").await, [""; 0]);

    // As in the hours after, or at the next start.
    new.run_maintenance().await.unwrap();
    assert_eq!(found(&eve, "+49 171 2345671").await, ["bob"]);
    assert_eq!(found(&eve, "+49 171 2345672").await, ["ann"]);
    assert_eq!(found(&eve, "+49 171 2345673").await, ["carol"]);
    assert_eq!(found(&eve, "+44 171 2345672").await, [""; 0]);
    let lookalike = Register::new("раураl", "secret", "other");
    let refused = new.connect().call(lookalike).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AlreadyExists);
    new.run_maintenance().await.unwrap();
    let left: i64 = client
        .query_one("SELECT count(*) FROM unchecked", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "nobody is looked at for ever");

    // A server of the rule before that starts meanwhile changes all, until it has ended.
    let old_again = engine_in("GB", &url).await;
    let max = join(&old_again, "max").await;
    assert_eq!(found(&max, "+44 171 2345672").await, ["ann"]);
    new.run_maintenance().await.unwrap();
    assert_eq!(found(&eve, "+49 171 2345672").await, ["ann"]);
}
