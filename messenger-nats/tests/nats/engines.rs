//! Two engines that share a store.

use crate::support::{SOON, pair, trouble, until};
use messenger_core::proto::{Auth, Register, SendMessage};
use messenger_core::storage::MemoryStorage;
use messenger_core::{Builder, Connection, Engine, EventsEnded, Policy};
use messenger_nats::NatsNotifier;
use std::sync::Arc;
use testing_servers::Nats;
use tokio::time::timeout;

struct Nodes {
    one: Engine,
    other: Engine,
    notifier: Arc<NatsNotifier>,
    nats: Nats,
}

impl Nodes {
    async fn new(build: impl Fn(Builder) -> Builder) -> Self {
        let nats = Nats::start(&[]);
        let (notifier, others) = pair(&nats.url()).await;
        let storage = Arc::new(MemoryStorage::new());
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let engine = |notifier| {
            let builder = Engine::builder().policy(policy.clone());
            let builder = builder.storage(storage.clone()).notifier(notifier);
            build(builder).build().unwrap()
        };
        Self {
            one: engine(notifier.clone()),
            other: engine(others),
            notifier,
            nats,
        }
    }
}

async fn register(engine: &Engine, login: &str) {
    let account = Register::new(login, "secret", login);
    engine.connect().call(account).await.unwrap();
}

async fn log_in(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    connection.call(Auth::new(login, "secret")).await.unwrap();
    connection
}

async fn next_body(connection: &mut Connection) -> String {
    let event = timeout(SOON, connection.next_message()).await;
    let event = event.expect("a message in time").unwrap();
    event.message.body.as_str().to_owned()
}

/// Nobody looks into the store by themselves: what comes, comes over NATS.
#[tokio::test]
async fn what_happens_at_one_node_is_told_at_the_other() {
    let nodes = Nodes::new(Builder::manual_maintenance).await;
    for login in ["ann", "bob"] {
        register(&nodes.one, login).await;
    }
    let ann = log_in(&nodes.one, "ann").await;
    let mut anns_other = log_in(&nodes.other, "ann").await;
    let mut bob = log_in(&nodes.other, "bob").await;
    for body in ["small".to_owned(), "x".repeat(60_000)] {
        ann.call(SendMessage::new("bob", body.clone()))
            .await
            .unwrap();
        assert!(next_body(&mut bob).await == body);
        assert!(
            next_body(&mut anns_other).await == body,
            "the sender's copy"
        );
    }
    nodes.one.end_sessions(&"bob".into()).await.unwrap();
    let ended = timeout(SOON, bob.next_message())
        .await
        .expect("its end in time");
    assert!(matches!(ended, Err(EventsEnded::SessionEnded)), "{ended:?}");
}

#[tokio::test]
async fn while_nats_is_away_messages_are_found_in_the_store() {
    let mut nodes = Nodes::new(|builder| builder).await;
    for login in ["ann", "bob"] {
        register(&nodes.one, login).await;
    }
    let ann = log_in(&nodes.one, "ann").await;
    let mut bob = log_in(&nodes.other, "bob").await;
    nodes.nats.kill();
    until("it is seen", || !trouble(&nodes.notifier).is_empty()).await;
    assert!(nodes.one.health().await.notifier.is_err());
    for body in ["one", "two", "three"] {
        ann.call(SendMessage::new("bob", body)).await.unwrap();
        assert_eq!(next_body(&mut bob).await, body);
    }
    nodes.nats.start_again();
    until("it is back", || trouble(&nodes.notifier).is_empty()).await;
    ann.call(SendMessage::new("bob", "four")).await.unwrap();
    assert_eq!(next_body(&mut bob).await, "four");
}
