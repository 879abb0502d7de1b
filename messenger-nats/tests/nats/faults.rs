//! Servers that go, come back, or stand still.

use crate::support::{SOON, copy, expect, hears, mailbox, node, pair, stored, trouble, until};
use messenger_core::notifier::Notifier;
use messenger_core::proto::UserId;
use testing_servers::Nats;
use tokio::time::timeout;

#[tokio::test]
async fn after_a_server_was_killed_notices_flow_again() {
    let mut nats = Nats::start(&[]);
    let (one, other) = pair(&nats.url()).await;
    assert_eq!(trouble(&one), "");
    let before = one.gaps();
    nats.kill();
    until("it is seen", || trouble(&one).contains("NATS at 127.0.0.1")).await;
    // Connections look into the store for as long as it is away.
    let at_once = one.gaps();
    until("gaps are counted", || one.gaps() >= at_once.max(before) + 2).await;
    nats.start_again();
    hears(&one, &other).await;
    hears(&other, &one).await;
    assert_eq!(trouble(&one), "");
}

/// No packet tells that it is gone.
#[tokio::test]
async fn a_server_that_stands_still_is_noticed() {
    let nats = Nats::start(&[]);
    let (one, other) = pair(&nats.url()).await;
    nats.signal("STOP");
    until("it is seen", || !trouble(&one).is_empty()).await;
    nats.signal("CONT");
    hears(&one, &other).await;
}

#[tokio::test]
async fn a_server_that_is_away_at_first_is_waited_for() {
    let mut nats = Nats::start(&[]);
    nats.kill();
    let (one, other) = (node(&nats.url()).await, node(&nats.url()).await);
    assert!(!trouble(&one).is_empty());
    let (ann, mailbox) = (UserId::from("ann"), mailbox());
    let subscription = one.subscribe(&ann, mailbox.clone());
    one.notify(&ann, stored(1));
    expect(&mailbox, 1).await;
    drop(subscription);
    nats.start_again();
    until("it is connected", || trouble(&one).is_empty()).await;
    hears(&one, &other).await;
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_does_not_answer() {
    let nats = Nats::start(&[]);
    let (one, _other) = pair(&nats.url()).await;
    nats.signal("STOP");
    let ann = UserId::from("ann");
    let large = "x".repeat(64 * 1024);
    for _ in 0..1_000 {
        one.notify(&ann, copy(large.clone()));
    }
    timeout(SOON, one.close()).await.expect("it ends");
    nats.signal("CONT");
}
