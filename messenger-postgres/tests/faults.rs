//! What was answered is there once, whatever happens to the database and to the way there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::future::join_all;
use messenger_core::clock::Timestamp;
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{AppendError, Appended, NewMessage, PageLimits, Storage};
use messenger_postgres::PostgresStorage;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testing_servers::{DEADLINE, Postgres, Proxy};
use tokio::time::timeout;
use tokio_postgres::Client;

const ALL: PageLimits = PageLimits::new(usize::MAX, usize::MAX);

fn message(from: &str, to: &str, body: &str) -> NewMessage {
    let message = Message::new(format!("id of {body}"), from, to, 1_700_000_000).body(body);
    NewMessage::new(message, Timestamp::from_micros(1_700_000_000_000_000)).mid(body)
}

/// Sends until it is known that the message is there, as a client does: under the same `mid`.
async fn send(storage: &PostgresStorage, new: NewMessage) -> Appended {
    let sending = async {
        loop {
            match storage.append(new.clone()).await {
                Ok(appended) => return appended,
                Err(AppendError::Storage(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(DEADLINE, sending).await.expect("service is back")
}

/// The bodies in an inbox, whose numbers must have no gap.
async fn bodies(storage: &PostgresStorage, user: &str) -> Vec<String> {
    let inbox = storage.inbox(&user.into(), 0, ALL).await.unwrap();
    let places = inbox.iter().map(|(seq, _)| *seq);
    assert!(places.eq(1..=inbox.len() as u64), "a gap in {user}'s inbox");
    let bodies = inbox.into_iter();
    bodies
        .map(|(_, message)| message.body.as_str().to_owned())
        .collect()
}

async fn add_users(storage: &PostgresStorage, users: &[&str]) {
    for user in users {
        let uid = UserId::from(*user);
        storage.upsert_external_user(&uid, user).await.unwrap();
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, reached).await.expect("is reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_kills_of_the_database() {
    const RECIPIENTS: [&str; 3] = ["ann", "bob", "cid"];
    let mut postgres = Postgres::start().await;
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
        postgres.kill();
        postgres.restart();
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

async fn count(client: &Client) -> i64 {
    let row = client.query_one("SELECT count(*) FROM messages", &[]);
    row.await.unwrap().get(0)
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
        .batch_execute("BEGIN; SELECT FROM inboxes FOR UPDATE")
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
