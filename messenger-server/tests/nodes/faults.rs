//! What is away is told, and service is back with it.

use crate::cluster::Cluster;
use messenger_client::ClientError;
use messenger_client::proto::{ErrorCode, SendMessage};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_messages_come_late() {
    let mut cluster = Cluster::start().await;
    cluster.is_ready().await;
    let ann = cluster.nodes[0].join("ann").await;
    let mut bob = cluster.nodes[1].join("bob").await;
    cluster.nats.kill();
    for node in &cluster.nodes {
        node.says(200, "ready\nthe notifier fails: NATS at 127.0.0.1:")
            .await;
    }
    for n in 0..3 {
        ann.client.send("bob", &format!("{n}")).await.unwrap();
        assert_eq!(bob.hears().await, format!("{n}"));
    }
    cluster.nats.start_again();
    cluster.is_ready().await;
    for node in &cluster.nodes {
        assert!(node.counts("messenger_notifier_connects_total").await >= 2);
        assert!(node.counts("messenger_notifier_gaps_total").await >= 1);
    }
}

/// Longer than any answer takes, and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_requests_are_answered_with_22() {
    let mut cluster = Cluster::start().await;
    let ann = cluster.nodes[0].join("ann").await;
    let mut bob = cluster.nodes[1].join("bob").await;
    cluster.postgres.kill();
    let began = Instant::now();
    let refused = ann.client.send("bob", "lost").await.unwrap_err();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let ClientError::Refused(failure) = refused else {
        panic!("{refused}");
    };
    assert_eq!(failure.code, ErrorCode::Unavailable);
    for node in &cluster.nodes {
        node.says(503, "not ready\nthe store failed").await;
    }
    cluster.postgres.restart();
    ann.insists(SendMessage::new("bob", "found").mid("a1"))
        .await;
    assert_eq!(bob.hears().await, "found");
    cluster.is_ready().await;
    assert!(
        cluster.nodes[0]
            .counts("messenger_postgres_connects_total")
            .await
            >= 2
    );
    assert!(
        cluster.nodes[0]
            .counts("messenger_postgres_batches_total")
            .await
            >= 2
    );
}

/// It has taken the message and says nothing: whether it has stored it is not known, and the sender is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_fate_is_not_known_can_be_sent_again() {
    let cluster = Cluster::start().await;
    let ann = cluster.nodes[0].join("ann").await;
    let mut bob = cluster.nodes[1].join("bob").await;
    ann.client.send("bob", "first").await.unwrap();
    assert_eq!(bob.hears().await, "first");
    cluster.postgres.signal("STOP");
    let message = SendMessage::new("bob", "once").mid("a1");
    let began = Instant::now();
    let refused = ann.client.send_message(message.clone()).await.unwrap_err();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let ClientError::Refused(failure) = refused else {
        panic!("{refused}");
    };
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.text.contains("not known"), "{}", failure.text);
    cluster.postgres.signal("CONT");
    ann.insists(message).await;
    ann.insists(SendMessage::new("bob", "last").mid("a2")).await;
    assert_eq!(bob.hears().await, "once");
    assert_eq!(bob.hears().await, "last");
}
