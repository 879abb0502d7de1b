//! A database that has lost what it had stored, as after a failover to a standby that was behind.

use crate::{add_users, message, send, until};
use messenger_core::storage::{PageLimits, Storage};
use messenger_postgres::PostgresStorage;
use testing_servers::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_given_twice_when_a_database_has_lost_some() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let beside = PostgresStorage::connect(&url).await.unwrap();
    // Enough for both lanes.
    let users = ["ann", "bob", "cid", "dan", "eve", "fay"];
    add_users(&storage, &users).await;
    let send_all = async |storage: &PostgresStorage, body: &str| {
        let mut seqs = Vec::new();
        for user in users {
            let new = message("somebody", user, body);
            seqs.push(send(storage, new).await.seq().unwrap());
        }
        seqs
    };
    assert_eq!(send_all(&storage, "kept").await, [1; 6]);
    postgres.kill();
    postgres.save();
    postgres.restart();
    assert_eq!(send_all(&storage, "lost").await, [2; 6]);
    assert_eq!(storage.lost_up_to(), 0);
    postgres.kill();
    postgres.put_back();
    postgres.restart();

    let lost_up_to = 1_700_000_000_000_000;
    for (storage, body) in [(&storage, "by one"), (&beside, "by the other")] {
        for seq in send_all(storage, body).await {
            assert!(seq > lost_up_to, "{seq} was given before");
        }
    }
    assert!(storage.lost_up_to() > lost_up_to);
    let all = PageLimits::new(usize::MAX, usize::MAX);
    for user in users {
        let inbox = storage.inbox(&user.into(), 0, all).await.unwrap();
        let bodies = inbox.iter().map(|(_, message)| message.body.as_str());
        assert_eq!(bodies.clone().count(), 3);
        assert_eq!(bodies.clone().next(), Some("kept"));
        assert!(!bodies.clone().any(|body| body == "lost"));
        assert!(inbox.is_sorted_by_key(|(seq, _)| *seq));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_noticed_without_a_message() {
    let mut postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let beside = PostgresStorage::connect(&url).await.unwrap();
    add_users(&storage, &["ann"]).await;
    postgres.kill();
    postgres.save();
    postgres.restart();
    let lost = send(&storage, message("bob", "ann", "lost")).await;
    assert_eq!(lost.seq(), Some(1));
    postgres.kill();
    postgres.put_back();
    postgres.restart();
    // As the engine does all the time.
    until(async || storage.look(Vec::new()).await.is_ok()).await;
    assert!(storage.lost_up_to() > 0);
    let next = send(&beside, message("bob", "ann", "next")).await;
    assert_eq!(next.seq(), Some(storage.lost_up_to() + 1));
    // It is said once.
    let lost_up_to = storage.lost_up_to();
    storage.look(Vec::new()).await.unwrap();
    assert_eq!(storage.lost_up_to(), lost_up_to);
}
