//! The store keeps the promises of every store, in a real PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::clock::Timestamp;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{
    Appended, MemoryStorage, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage,
    Watermark,
};
use messenger_core::testing;
use messenger_postgres::{ConnectError, PostgresStorage};
use std::sync::Arc;
use testing_servers::Postgres;

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
    messenger_postgres::mark_restored(&url.parse().unwrap())
        .await
        .unwrap();
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let lost_up_to = storage.lost_up_to();
    assert!(lost_up_to > 1_700_000_000_000_000, "{lost_up_to}");
    assert_eq!(append(&storage).await, lost_up_to + 1);
    assert_eq!(append(&storage).await, lost_up_to + 2);
    assert_eq!(storage.newest(&ann).await.unwrap(), lost_up_to + 2);
}

/// The function of the database chooses as the core does.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_is_over_its_limit_loses_what_it_loses_in_memory() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let here: Arc<dyn Storage> = Arc::new(PostgresStorage::connect(&url).await.unwrap());
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let stores = [here, memory];
    let (ann, keys) = (
        UserId::from("ann"),
        [SessionKey([1; 32]), SessionKey([2; 32])],
    );
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    for store in &stores {
        store.upsert_external_user(&ann, "Ann").await.unwrap();
        let number = store.user_number(&ann).await.unwrap().unwrap();
        for key in keys {
            let session = NewSession::new(Owner::new(ann.clone(), number), key, now);
            store.open_session(session).await.unwrap();
        }
    }
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut dropped_in_all = 0;
    for step in 0..300_u64 {
        // Some senders send more, some larger ones.
        let sender = random(4).min(random(4));
        let size = random(3 + 8 * sender);
        let body = "x".repeat(usize::try_from(size).unwrap());
        let message = Message::new(
            format!("{step}"),
            format!("sender {sender}"),
            "ann",
            1_700_000_000,
        );
        let limits = InboxLimits::new(40, 300);
        let new = NewMessage::new(message.body(body), now).limits(limits);
        let laggard_moves = random(20) == 0;
        let mut outcomes = Vec::new();
        for store in &stores {
            let Appended::Stored { seq, dropped, .. } = store.append(new.clone()).await.unwrap()
            else {
                panic!("has no mid");
            };
            let mut marks = vec![Watermark::new(ann.clone(), keys[0], seq, now)];
            if laggard_moves {
                marks.push(Watermark::new(ann.clone(), keys[1], seq / 2, now));
            }
            store.advance(marks).await.unwrap();
            let page = PageLimits::new(usize::MAX, usize::MAX);
            outcomes.push((seq, dropped, store.inbox(&ann, 0, page).await.unwrap()));
        }
        assert_eq!(outcomes[0], outcomes[1], "in step {step}");
        dropped_in_all += outcomes[0].1;
    }
    assert!(dropped_in_all > 100, "{dropped_in_all}");
}
