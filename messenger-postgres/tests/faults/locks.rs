//! What others have locked, and a database that stands still, keep nobody for long who need not wait.

use crate::{add_users, bodies, count, message, send, until};
use futures_util::future::join_all;
use messenger_core::storage::{AppendError, Storage};
use messenger_postgres::PostgresStorage;
use std::error::Error;
use testing_servers::{DEADLINE, Postgres};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_another_has_locked_keeps_nobody_else() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    // Enough for both lanes.
    let others: Vec<String> = (0..8).map(|number| format!("other {number}")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    add_users(&storage, &[&["ann"], &others[..]].concat()).await;
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; SELECT FROM inboxes JOIN users ON no = user_no WHERE login = 'ann' FOR UPDATE OF inboxes";
    client.batch_execute(lock).await.unwrap();
    for round in ["1", "2", "3"] {
        let to_ann = storage.append(message("bob", "ann", round));
        let to_others = others
            .iter()
            .map(|other| storage.append(message("bob", other, round)));
        let (to_ann, to_others) = tokio::join!(to_ann, join_all(to_others));
        for appended in to_others {
            appended.expect("goes on");
        }
        let Err(AppendError::Storage(error)) = to_ann else {
            panic!("{to_ann:?}");
        };
        assert!(!error.is_unknown(), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("locked"), "{cause}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    send(&storage, message("bob", "ann", "4")).await;
    assert_eq!(
        bodies(&storage, "ann").await,
        ["4"],
        "the others were refused"
    );
    for other in others {
        assert_eq!(bodies(&storage, other).await, ["1", "2", "3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_lock_too_long_is_not_done() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    add_users(&storage, &["ann"]).await;
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; LOCK TABLE messages IN SHARE MODE";
    client.batch_execute(lock).await.unwrap();
    let appended = storage.append(message("bob", "ann", "1"));
    let appended = timeout(DEADLINE, appended).await.expect("an answer");
    assert!(
        matches!(appended, Err(AppendError::Storage(_))),
        "{appended:?}"
    );
    client.batch_execute("ROLLBACK").await.unwrap();
    send(&storage, message("bob", "ann", "1")).await;
    assert_eq!(bodies(&storage, "ann").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_fails_calls_and_serves_again() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    add_users(&storage, &["ann"]).await;
    send(&storage, message("bob", "ann", "1")).await;
    let client = postgres.client("messenger0").await;
    postgres.signal("STOP");
    let ann = "ann".into();
    let calls = async {
        tokio::join!(
            storage.append(message("bob", "ann", "2")),
            storage.newest(&ann)
        )
    };
    let (appended, newest) = timeout(DEADLINE, calls).await.expect("an answer");
    let Err(AppendError::Storage(error)) = appended else {
        panic!("{appended:?}");
    };
    assert!(error.is_unknown(), "it may go on with it: {error}");
    assert!(newest.is_err());
    postgres.signal("CONT");
    send(&storage, message("bob", "ann", "2")).await;
    send(&storage, message("bob", "ann", "3")).await;
    assert_eq!(bodies(&storage, "ann").await, ["1", "2", "3"]);
    until(async || count(&client).await == 3).await;
}
