//! Connections on which nothing is answered any more.

use crate::until;
use futures_util::future::join_all;
use messenger_core::storage::Storage;
use messenger_postgres::{ConnectError, PostgresStorage};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testing_servers::{DEADLINE, Postgres, Proxy};
use tokio::join;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_that_was_noticed_on_one_connection_is_waited_for_on_no_other() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let check_often = async || join_all((0..100).map(|_| storage.check())).await;
    // Together they need all connections.
    assert!(check_often().await.iter().all(Result::is_ok));

    let client = postgres.client("postgres").await;
    let sql = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'messenger'";
    let processes = client.query(sql, &[]).await.unwrap();
    let processes = processes.iter().map(|row| row.get::<_, String>(0));
    let mut stop = Command::new("kill");
    let stopped = stop.args(["-s", "STOP"]).args(processes).status();
    assert!(stopped.unwrap().success());
    storage.check().await.unwrap_err();
    let checks = check_often().await;
    assert!(checks.iter().all(Result::is_ok), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_back_is_found_however_many_wait_for_a_short_time_each() {
    let postgres = Postgres::start().await;
    postgres.database().await;
    let proxy = Proxy::before(&postgres).await;
    let storage = PostgresStorage::connect(&proxy.url("messenger0")).await;
    let storage = Arc::new(storage.unwrap());
    let answers = Arc::new(AtomicUsize::new(0));
    // Each begins a little behind the one before, so that their times are over one after the other.
    let asking = tokio::spawn({
        let (storage, answers) = (Arc::clone(&storage), Arc::clone(&answers));
        async move {
            loop {
                let (storage, answers) = (Arc::clone(&storage), Arc::clone(&answers));
                tokio::spawn(async move {
                    let is_answered = storage.check().await.is_ok();
                    answers.fetch_add(usize::from(is_answered), Ordering::Relaxed);
                });
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let answers = || answers.load(Ordering::Relaxed);
    until(async || answers() > 0).await;
    proxy.mute();
    // Longer than any call waits, so that all that wait have begun since.
    until(async || storage.check().await.is_err()).await;
    until(async || storage.check().await.is_err()).await;
    let before = answers();
    proxy.slow(Duration::from_millis(300));
    proxy.cut();
    until(async || answers() > before + 100).await;
    asking.abort();
}

/// Keeps whoever starts from going on, as another does that changes the tables.
async fn hold_starts(client: &Client) {
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('messenger migrations', 0))";
    client.batch_execute(lock).await.unwrap();
}

/// Waits until somebody is kept.
async fn is_held(client: &Client) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until(async || {
        let count: i64 = client.query_one(waiting, &[]).await.unwrap().get(0);
        count > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_ends_when_the_server_has_gone_without_a_word() {
    let postgres = Postgres::start().await;
    postgres.database().await;
    let proxy = Proxy::before(&postgres).await;
    let client = postgres.client("messenger0").await;
    hold_starts(&client).await;
    let url = proxy.url("messenger0");
    let starting = timeout(DEADLINE, PostgresStorage::connect(&url));
    let (ended, ()) = join!(starting, async {
        is_held(&client).await;
        proxy.mute();
    });
    let refused = ended.expect("it ends").unwrap_err();
    assert!(matches!(refused, ConnectError::Connect(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_another_for_as_long_as_the_server_is_there() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let client = postgres.client("messenger0").await;
    hold_starts(&client).await;
    let starting = timeout(DEADLINE, PostgresStorage::connect(&url));
    // Whether the server is there is looked at by others.
    let other = postgres.client("postgres").await;
    let others = "SELECT sessions FROM pg_stat_database WHERE datname = 'messenger0'";
    let count = async || -> i64 { other.query_one(others, &[]).await.unwrap().get(0) };
    let (started, ()) = join!(starting, async {
        is_held(&client).await;
        let before = count().await;
        until(async || count().await >= before + 3).await;
        client.batch_execute("COMMIT").await.unwrap();
    });
    started.expect("it starts").unwrap();
}
