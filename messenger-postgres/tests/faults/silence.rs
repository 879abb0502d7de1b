//! Connections on which nothing is answered any more, while new ones are served.

use futures_util::future::join_all;
use messenger_core::storage::Storage;
use messenger_postgres::PostgresStorage;
use std::process::Command;
use testing_servers::Postgres;

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
