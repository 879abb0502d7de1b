//! What nodes tell each other.

use crate::support::{SOON, copy, expect, mail, mailbox, node, pair, stored};
use async_nats::ConnectOptions;
use futures_util::StreamExt;
use messenger_core::notifier::{Mail, Notifier};
use messenger_core::proto::UserId;
use messenger_core::testing;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testing_servers::Nats;
use tokio::time::timeout;

#[tokio::test]
async fn it_does_what_every_notifier_does() {
    let nats = Nats::start(&[]);
    let pairs = AtomicUsize::new(0);
    let next = async || {
        // What the pair before has said last may come when this one is there.
        let number = pairs.fetch_add(1, Ordering::Relaxed);
        pair(&format!("{}?prefix=pair{number}", nats.url())).await
    };
    testing::notifier::suite(next).await;
}

/// A copy is not sent again by itself when a machine is so busy that a frame of it is lost.
#[tokio::test]
async fn a_large_copy_arrives_whole() {
    let nats = Nats::start(&[]);
    let (one, other) = pair(&nats.url()).await;
    let (ann, mailbox) = (UserId::from("ann"), mailbox());
    let _subscription = other.subscribe(&ann, mailbox.clone());
    let body: String = ('a'..='z').cycle().take(8 * 1024 * 1024).collect();
    let arrived = async {
        loop {
            one.notify(&ann, copy(body.clone()));
            if let Ok(mail) = timeout(SOON / 4, mail(&mailbox)).await {
                break mail;
            }
        }
    };
    match timeout(SOON, arrived).await {
        Ok(Mail::Copy(message)) => assert!(message.body.as_str() == body),
        other => panic!("expected the copy, found {other:?}"),
    }
}

#[tokio::test]
async fn nodes_of_another_prefix_are_not_heard() {
    let nats = Nats::start(&[]);
    let url = nats.url();
    let (one, other) = pair(&format!("{url}?prefix=one")).await;
    let stranger = node(&format!("{url}?prefix=two")).await;
    let watching = async_nats::connect(&url).await.unwrap();
    let mut strangers = watching.subscribe("two.from.*").await.unwrap();
    watching.flush().await.unwrap();
    let (ann, mailbox) = (UserId::from("ann"), mailbox());
    let _subscription = other.subscribe(&ann, mailbox.clone());
    let told = async {
        loop {
            stranger.notify(&ann, stored(1));
            let frame = timeout(Duration::from_millis(50), strangers.next()).await;
            // Some say only that it is there.
            if frame.is_ok_and(|frame| frame.unwrap().payload.len() > 18) {
                break;
            }
        }
    };
    timeout(SOON, told).await.unwrap();
    one.notify(&ann, stored(2));
    expect(&mailbox, 2).await;
}

#[tokio::test]
async fn a_node_that_goes_sends_what_waits_and_says_so() {
    let nats = Nats::start(&[]);
    let (one, other) = pair(&nats.url()).await;
    let options = ConnectOptions::new().subscription_capacity(10_000);
    let watching = options.connect(nats.url()).await.unwrap();
    let mut frames = watching.subscribe("messenger.from.*").await.unwrap();
    // Only then it is sure that the server knows of it.
    timeout(SOON, frames.next()).await.expect("a pulse");
    let (ann, mailbox) = (UserId::from("ann"), mailbox());
    let _subscription = other.subscribe(&ann, mailbox.clone());
    for seq in 1..=100 {
        one.notify(&ann, stored(seq));
    }
    timeout(SOON, one.close()).await.unwrap();
    for seq in 1..=100 {
        expect(&mailbox, seq).await;
    }
    let bye = async {
        while let Some(frame) = frames.next().await {
            if frame.payload[..2] == [1, 4] {
                break;
            }
        }
    };
    timeout(SOON, bye).await.expect("a bye");
    // Within the node it goes on.
    let _subscription = one.subscribe(&ann, mailbox.clone());
    one.notify(&ann, stored(101));
    expect(&mailbox, 101).await;
}
