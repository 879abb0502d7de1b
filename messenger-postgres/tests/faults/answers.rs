//! What was answered is there once, whatever happens to the database and to the way there.

use crate::{add_users, bodies, count, message, send, until};
use futures_util::future::join_all;
use messenger_core::proto::UserId;
use messenger_core::storage::{AppendError, Storage};
use messenger_postgres::PostgresStorage;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testing_servers::{DEADLINE, Postgres, Proxy};
use tokio::time::timeout;

/// Has 24 senders send while something is done to the database three times; what was answered is there once, in order.
async fn stays_whole(postgres: &mut Postgres, mut befall: impl AsyncFnMut(&mut Postgres)) {
    const RECIPIENTS: [&str; 3] = ["ann", "bob", "cid"];
    let url = postgres.database().await;
    let storage = Arc::new(PostgresStorage::connect(&url).await.unwrap());
    add_users(&storage, &RECIPIENTS).await;
    let (is_over, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let senders = (0..24).map(|sender| {
        let (storage, is_over, count) = (storage.clone(), is_over.clone(), count.clone());
        tokio::spawn(async move {
            let (from, to) = (format!("sender {sender}"), RECIPIENTS[sender % 3]);
            let mut sent = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let body = format!("{sender} {}", sent.len());
                send(&storage, message(&from, to, &body)).await;
                sent.push(body);
                count.fetch_add(1, Ordering::Relaxed);
            }
            (to, sent)
        })
    });
    let senders: Vec<_> = senders.collect();
    for _ in 0..3 {
        let before = count.load(Ordering::Relaxed);
        until(async || count.load(Ordering::Relaxed) > before + 200).await;
        befall(postgres).await;
    }
    let before = count.load(Ordering::Relaxed);
    until(async || count.load(Ordering::Relaxed) > before + 200).await;
    is_over.store(true, Ordering::Relaxed);

    let mut sent_to = RECIPIENTS.map(|_| BTreeSet::new());
    for sender in senders {
        let (to, sent) = sender.await.unwrap();
        let number = RECIPIENTS.iter().position(|user| *user == to).unwrap();
        let inbox = bodies(&storage, to).await;
        let own = format!("{} ", sent[0].split(' ').next().unwrap());
        let own = inbox.iter().filter(|body| body.starts_with(&own));
        assert!(own.eq(&sent), "each once, and in the order they were sent");
        sent_to[number].extend(sent);
    }
    for (user, sent) in RECIPIENTS.iter().zip(sent_to) {
        assert_eq!(bodies(&storage, user).await.len(), sent.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_kills_of_the_database() {
    let mut postgres = Postgres::start().await;
    stays_whole(&mut postgres, async |postgres| {
        postgres.kill();
        postgres.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_connections_that_are_ended_again_and_again() {
    let mut postgres = Postgres::start().await;
    stays_whole(&mut postgres, async |postgres| {
        let client = postgres.client("postgres").await;
        for _ in 0..20 {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE application_name = 'messenger'";
            client.query(end, &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_number_without_a_gap_and_store_a_mid_once() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    // They make the tables at once.
    let connected = tokio::join!(
        PostgresStorage::connect(&url),
        PostgresStorage::connect(&url)
    );
    let storages = [connected.0, connected.1].map(|storage| Arc::new(storage.unwrap()));
    add_users(&storages[0], &["ann", "bob"]).await;
    let senders = (0..16).map(|sender| {
        let storage = storages[sender % 2].clone();
        tokio::spawn(async move {
            let from = format!("sender {}", sender / 2);
            let mut stored = 0;
            for number in 0..25 {
                // A client that is connected to both sends each message to both.
                let body = format!("{} {number:02}", sender / 2);
                let to = ["ann", "bob"][(sender / 2) % 2];
                let appended = send(&storage, message(&from, to, &body)).await;
                stored += usize::from(appended.seq().is_some());
            }
            stored
        })
    });
    let mut stored = 0;
    for sender in senders.collect::<Vec<_>>() {
        stored += sender.await.unwrap();
    }
    assert_eq!(stored, 8 * 25);
    for user in ["ann", "bob"] {
        let inbox = bodies(&storages[0], user).await;
        assert_eq!(inbox.len(), 4 * 25);
        assert_eq!(inbox, bodies(&storages[1], user).await);
        for sender in 0..8 {
            let own = inbox
                .iter()
                .filter(|body| body.starts_with(&format!("{sender} ")));
            assert!(own.is_sorted(), "a sender's messages have changed places");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_answer_was_lost_is_stored_once() {
    let postgres = Postgres::start().await;
    postgres.database().await;
    let client = postgres.client("messenger0").await;
    let proxy = Proxy::before(&postgres).await;
    let storage = PostgresStorage::connect(&proxy.url("messenger0"))
        .await
        .unwrap();
    let storage = Arc::new(storage);
    add_users(&storage, &["ann"]).await;
    // It has a connection from then on.
    send(&storage, message("bob", "ann", "1")).await;
    for round in 2..=6 {
        proxy.mute();
        let mut new = message("bob", "ann", &round.to_string());
        // Nothing but the batch's number keeps it from being stored again.
        new.mid = None;
        let appending = tokio::spawn({
            let storage = storage.clone();
            async move { storage.append(new).await }
        });
        until(async || count(&client).await == round).await;
        proxy.cut();
        match appending.await.unwrap() {
            Ok(appended) => assert_eq!(appended.seq(), Some(round.unsigned_abs())),
            // On a machine so slow that the time was over.
            Err(AppendError::Storage(error)) => assert!(error.is_unknown(), "{error}"),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(count(&client).await, round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_still_being_stored_is_not_stored_beside() {
    let postgres = Postgres::start().await;
    postgres.database().await;
    let client = postgres.client("messenger0").await;
    let proxy = Proxy::before(&postgres).await;
    let storage = PostgresStorage::connect(&proxy.url("messenger0"))
        .await
        .unwrap();
    let storage = Arc::new(storage);
    add_users(&storage, &["ann"]).await;
    client
        .batch_execute("BEGIN; LOCK TABLE messages IN SHARE MODE")
        .await
        .unwrap();
    let mut new = message("bob", "ann", "1");
    new.mid = None;
    let appending = tokio::spawn({
        let storage = storage.clone();
        async move { storage.append(new).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let watch = postgres.client("messenger0").await;
    let waiting = async || {
        watch
            .query_one(waiting, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    until(async || waiting().await == 1).await;
    proxy.cut();
    // The second attempt waits for the first, which nobody listens to any more.
    until(async || waiting().await == 2 || appending.is_finished()).await;
    client.batch_execute("COMMIT").await.unwrap();
    match appending.await.unwrap() {
        Ok(appended) => assert_eq!(appended.seq(), Some(1)),
        Err(AppendError::Storage(error)) => assert!(error.is_unknown(), "{error}"),
        Err(other) => panic!("{other}"),
    }
    until(async || waiting().await == 0).await;
    assert!(count(&client).await <= 1);
    let next = send(&storage, message("bob", "ann", "2")).await;
    assert_eq!(next.seq(), Some(count(&client).await.unsigned_abs()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_calls_fail_and_service_is_back_with_it() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    add_users(&storage, &["ann"]).await;
    send(&storage, message("bob", "ann", "1")).await;
    postgres.kill();
    let ann = UserId::from("ann");
    let calls = async {
        tokio::join!(
            storage.append(message("bob", "ann", "2")),
            storage.newest(&ann)
        )
    };
    let (appended, newest) = timeout(DEADLINE, calls)
        .await
        .expect("nobody waits for ever");
    assert!(
        matches!(appended, Err(AppendError::Storage(_))),
        "{appended:?}"
    );
    assert!(
        newest.is_err_and(|error| !error.is_unknown()),
        "nothing was to be done"
    );
    postgres.restart();
    send(&storage, message("bob", "ann", "2")).await;
    assert_eq!(bodies(&storage, "ann").await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_are_bounded() {
    let postgres = Postgres::start().await;
    postgres.database().await;
    let proxy = Proxy::before(&postgres).await;
    let storage = PostgresStorage::connect(&proxy.url("messenger0"))
        .await
        .unwrap();
    proxy.mute();
    let ann = UserId::from("ann");
    // Again, if the machine is so slow that the first has failed before the last is begun.
    until(async || {
        let calls = (0..12_001).map(|_| storage.newest(&ann));
        let failed = join_all(calls).await.into_iter();
        let failed = failed.map(|newest| newest.unwrap_err().source().unwrap().to_string());
        let refused = failed.filter(|error| error.contains("too many calls"));
        refused.count() == 1
    })
    .await;
    proxy.cut();
    until(async || storage.newest(&ann).await.is_ok()).await;
}
