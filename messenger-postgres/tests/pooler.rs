//! The store keeps its promises behind pgbouncer, where each transaction may go on another connection.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use messenger_core::storage::Storage;
use messenger_core::testing;
use messenger_postgres::{ConnectError, PostgresStorage};
use std::sync::Arc;
use testing_servers::{PgBouncer, Postgres};

/// Connections to each database stay for a second.
const MANY_CONNECTIONS: &str = "max_connections=400";

async fn set_for_user(postgres: &Postgres, setting: &str, value: &str) {
    let client = postgres.client("postgres").await;
    let set = format!("ALTER ROLE messenger SET {setting} = '{value}'");
    client.batch_execute(&set).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let postgres = Postgres::start_with(&[MANY_CONNECTIONS]).await;
    set_for_user(&postgres, "statement_timeout", "3500ms").await;
    set_for_user(&postgres, "lock_timeout", "1500ms").await;
    let bouncer = PgBouncer::before(&postgres).await;
    testing::storage::suite(async || {
        let url = postgres.database().await;
        let (_, name) = url.rsplit_once('/').unwrap();
        let storage = PostgresStorage::connect(&bouncer.url(name)).await;
        Arc::new(storage.unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_have_to_be_set_for_the_user() {
    let postgres = Postgres::start().await;
    let bouncer = PgBouncer::before(&postgres).await;
    for (missing, value) in [("statement_timeout", "3500ms"), ("lock_timeout", "1500ms")] {
        // Each time connections are new to this database.
        let url = postgres.database().await;
        let (_, name) = url.rsplit_once('/').unwrap();
        let refused = PostgresStorage::connect(&bouncer.url(name)).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, ConnectError::NotSet { setting, .. } if setting == missing),
            "{refused}"
        );
        assert!(refused.to_string().contains(missing), "{refused}");
        set_for_user(&postgres, missing, value).await;
    }
    let url = postgres.database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    PostgresStorage::connect(&bouncer.url(name)).await.unwrap();
}
