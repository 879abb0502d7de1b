//! The store keeps the promises of every store, in a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use messenger_core::clock::Timestamp;
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{NewMessage, Storage};
use messenger_core::testing;
use messenger_postgres::{ConnectError, PostgresStorage};
use std::sync::Arc;
use support::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let postgres = Postgres::start().await;
    testing::storage::suite(async || {
        let url = postgres.database().await;
        Arc::new(PostgresStorage::connect(&url).await.unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_was_answered() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    testing::storage::durability(async || {
        Arc::new(PostgresStorage::connect(&url).await.unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_store_is_refused_with_a_sentence() {
    let no_address = PostgresStorage::connect("messenger.db").await.unwrap_err();
    assert!(matches!(no_address, ConnectError::Url(_)), "{no_address}");
    let nobody = PostgresStorage::connect("postgres://nobody@%2Fnowhere/x")
        .await
        .unwrap_err();
    assert!(matches!(nobody, ConnectError::Connect(_)), "{nobody}");

    for (setting, sentence) in [
        ("fsync=off", "the PostgreSQL setting fsync is off"),
        (
            "full_page_writes=off",
            "the PostgreSQL setting full_page_writes is off",
        ),
        (
            "synchronous_commit=off",
            "the PostgreSQL setting synchronous_commit is off",
        ),
    ] {
        let postgres = Postgres::start_with(&[setting]).await;
        let refused = PostgresStorage::connect(&postgres.url("postgres"))
            .await
            .unwrap_err();
        assert!(refused.to_string().starts_with(sentence), "{refused}");
    }

    let postgres = Postgres::start().await;
    let client = postgres.client("postgres").await;
    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    client.batch_execute(latin).await.unwrap();
    let refused = PostgresStorage::connect(&postgres.url("latin"))
        .await
        .unwrap_err();
    assert!(matches!(refused, ConnectError::Unsafe { .. }), "{refused}");

    let url = postgres.database().await;
    drop(PostgresStorage::connect(&url).await.unwrap());
    let client = postgres.client("messenger0").await;
    let later = "UPDATE about SET value = '99' WHERE name = 'version'";
    client.batch_execute(later).await.unwrap();
    let newer = PostgresStorage::connect(&url).await.unwrap_err();
    assert!(
        matches!(newer, ConnectError::Newer { version: 99 }),
        "{newer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_restored_copy_go_on_behind_all_that_were_given() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let ann = UserId::from("ann");
    let append = async |storage: &PostgresStorage| {
        let message = Message::new("id", "bob", "ann", 1_700_000_000).body("text");
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let appended = storage.append(NewMessage::new(message, now)).await;
        appended.unwrap().seq().unwrap()
    };
    let storage = PostgresStorage::connect(&url).await.unwrap();
    assert_eq!(storage.lost_up_to(), 0);
    storage.upsert_external_user(&ann, "Ann").await.unwrap();
    assert_eq!(append(&storage).await, 1);
    drop(storage);
    messenger_postgres::mark_restored(&url).await.unwrap();
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let lost_up_to = storage.lost_up_to();
    assert!(lost_up_to > 1_700_000_000_000_000, "{lost_up_to}");
    assert_eq!(append(&storage).await, lost_up_to + 1);
    assert_eq!(append(&storage).await, lost_up_to + 2);
    assert_eq!(storage.newest(&ann).await.unwrap(), lost_up_to + 2);
}
