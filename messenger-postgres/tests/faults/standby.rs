//! A synchronous standby that is away, so that what is committed waits for it.

use crate::{add_users, bodies, message, send, until};
use futures_util::future::join_all;
use messenger_core::proto::UserId;
use messenger_core::storage::{AppendError, Owner, SessionKey, Storage};
use messenger_postgres::PostgresStorage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testing_servers::{DEADLINE, Postgres};
use tokio::time::timeout;
use tokio_postgres::Client;

/// A call is answered within 4 seconds; the rest is for a slow machine.
const ANSWERED: Duration = Duration::from_secs(6);

/// Names a standby that is not there, and returns when commits wait for it.
async fn lose_standby(postgres: &Postgres) {
    let client = postgres.client("postgres").await;
    let name = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
    client.batch_execute(name).await.unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let commit = "SELECT pg_logical_emit_message(true, '', '')";
    let writer = postgres.client("postgres").await;
    while waiting(&client).await == 0 {
        let _ = timeout(Duration::from_millis(100), writer.batch_execute(commit)).await;
    }
    // It goes on behind it.
    give_up_waiting(&client).await;
    writer.batch_execute("SELECT 1").await.unwrap();
}

async fn find_standby(client: &Client) {
    let forget = "ALTER SYSTEM SET synchronous_standby_names = ''";
    client.batch_execute(forget).await.unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
}

/// How many commits wait.
async fn waiting(client: &Client) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    client.query_one(waiting, &[]).await.unwrap().get(0)
}

/// Has those that wait now commit without the standby.
async fn give_up_waiting(client: &Client) {
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    client.query(cancel, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_standby_nothing_is_stored_and_what_is_read_is_read() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = Arc::new(PostgresStorage::connect(&url).await.unwrap());
    add_users(&storage, &["ann"]).await;
    send(&storage, message("bob", "ann", "1")).await;
    lose_standby(&postgres).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..12).map(|writer| {
        let (storage, is_over) = (Arc::clone(&storage), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let user = UserId::from(format!("user {writer} {}", answers.len()));
                let stored = storage.upsert_external_user(&user, "a name").await;
                assert!(begun.elapsed() < ANSWERED, "{:?}", begun.elapsed());
                answers.push(stored);
            }
            answers.swap_remove(0)
        })
    });
    let writers: Vec<_> = writers.collect();
    let sender = tokio::spawn({
        let storage = Arc::clone(&storage);
        async move { storage.append(message("bob", "ann", "2")).await }
    });

    let client = postgres.client("postgres").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        let asked = Instant::now();
        let reads = join_all((0..20).map(|_| storage.check())).await;
        assert!(reads.iter().all(Result::is_ok), "{reads:?}");
        assert_eq!(bodies(&storage, "ann").await, ["1"]);
        storage.look(Vec::new()).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "at once");
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'messenger'";
        let count: i64 = client.query_one(count, &[]).await.unwrap().get(0);
        assert!(count <= 16, "{count} processes for eight connections");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sent = sender.await.unwrap();
    assert!(
        matches!(&sent, Err(AppendError::Storage(error)) if error.is_unknown()),
        "{sent:?}"
    );

    find_standby(&client).await;
    let back = async {
        until(async || {
            storage
                .upsert_external_user(&"dan".into(), "Dan")
                .await
                .is_ok()
        })
        .await;
        send(&storage, message("bob", "ann", "2")).await;
    };
    timeout(Duration::from_secs(10), back)
        .await
        .expect("service is back");
    assert_eq!(bodies(&storage, "ann").await, ["1", "2"]);
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        let first = writer.await.unwrap();
        assert!(first.is_err_and(|error| error.is_unknown()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_opened_without_a_standby() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let before = PostgresStorage::connect(&url).await.unwrap();
    add_users(&before, &["ann"]).await;
    send(&before, message("bob", "ann", "1")).await;
    drop(before);
    lose_standby(&postgres).await;

    let opened = timeout(ANSWERED, PostgresStorage::connect(&url)).await;
    let storage = opened.expect("it writes nothing").unwrap();
    assert_eq!(bodies(&storage, "ann").await, ["1"]);
    let bob = UserId::from("bob");
    let storing = timeout(ANSWERED, storage.upsert_external_user(&bob, "Bob"));
    let stored = storing.await.expect("it is answered");
    assert!(stored.is_err_and(|error| error.is_unknown()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_without_its_standby_is_not_answered() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    add_users(&storage, &["ann", "bob"]).await;
    let ann = storage.user_number(&"ann".into()).await.unwrap();
    let ann = Owner::new("ann", ann.unwrap());
    storage.add_contact(&ann, &"bob".into(), 10).await.unwrap();
    send(&storage, message("bob", "ann", "1")).await;
    lose_standby(&postgres).await;

    let client = postgres.client("postgres").await;
    let appending = storage.append(message("bob", "ann", "2"));
    let bob = UserId::from("bob");
    let removing = storage.remove_contact(&ann, &bob);
    let (appended, removed, ()) = tokio::join!(appending, removing, async {
        until(async || waiting(&client).await == 2).await;
        give_up_waiting(&client).await;
    });
    assert!(
        matches!(&appended, Err(AppendError::Storage(error)) if error.is_unknown()),
        "{appended:?}"
    );
    // The second attempt finds nothing to remove.
    assert!(removed.is_err_and(|error| error.is_unknown()));

    find_standby(&client).await;
    until(async || waiting(&client).await == 0).await;
    let again = timeout(DEADLINE, storage.append(message("bob", "ann", "2")));
    let again = again.await.unwrap().unwrap();
    assert_eq!(again.seq(), None, "it is there");
    assert_eq!(bodies(&storage, "ann").await, ["1", "2"]);
    assert_eq!(storage.contacts(&"ann".into()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_done_already_is_not_answered_without_a_standby() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    add_users(&storage, &["ann"]).await;
    let ann = UserId::from("ann");
    let number = storage.user_number(&ann).await.unwrap();
    let owner = Owner::new("ann", number.unwrap());
    lose_standby(&postgres).await;

    // Another call may have done it, whose commit was made to wait no longer.
    let nobody = UserId::from("nobody");
    let (removed, ended, deleted) = tokio::join!(
        storage.remove_contact(&owner, &nobody),
        storage.end_session(&ann, &SessionKey([1; 32])),
        storage.delete_user(&nobody),
    );
    for done in [removed, ended, deleted.map(drop)] {
        assert!(done.is_err_and(|error| error.is_unknown()));
    }
}

/// Lets a server be written to, as one that was promoted, or not.
async fn set_read_only(postgres: &Postgres, value: &str) {
    let client = postgres.client("postgres").await;
    let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    client.batch_execute(&set).await.unwrap();
    let reload = "SELECT pg_reload_conf()";
    client.batch_execute(reload).await.unwrap();
    until(async || {
        let shown = client.query_one("SHOW default_transaction_read_only", &[]);
        shown.await.unwrap().get::<_, String>(0) == value
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_that_is_promoted_is_used_while_commits_wait_on_the_first() {
    let (first, other) = (Postgres::start().await, Postgres::start().await);
    first.database().await;
    let on_other = PostgresStorage::connect(&other.database().await).await;
    let on_other = on_other.unwrap();
    add_users(&on_other, &["ann"]).await;
    send(&on_other, message("bob", "ann", "on the other")).await;
    drop(on_other);
    set_read_only(&other, "on").await;

    let (one, two) = (first.url(""), other.url("messenger0"));
    let two = two.trim_start_matches("postgres://messenger@");
    let url = format!("{},{two}", one.trim_end_matches('/'));
    let storage = PostgresStorage::connect(&url).await.unwrap();
    add_users(&storage, &["ann"]).await;
    assert!(bodies(&storage, "ann").await.is_empty(), "on the first");
    lose_standby(&first).await;
    let bob = UserId::from("bob");
    let stored = storage.upsert_external_user(&bob, "Bob").await;
    assert!(stored.is_err_and(|error| error.is_unknown()));

    set_read_only(&other, "off").await;
    until(async || storage.upsert_external_user(&bob, "Bob").await.is_ok()).await;
    assert_eq!(bodies(&storage, "ann").await, ["on the other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_something_else_end_no_connection() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let client = postgres.client("messenger0").await;
    // Under the same code, as the server's own of what an operator should do.
    let warn = "
        CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE WARNING 'something else';
            RETURN NULL;
        END $$;
        CREATE TRIGGER warn AFTER INSERT OR UPDATE ON users EXECUTE FUNCTION warn()";
    client.batch_execute(warn).await.unwrap();
    add_users(&storage, &["ann"]).await;
    assert!(postgres.log().contains("something else"));
}
