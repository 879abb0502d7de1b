//! What nodes hear that no node of this version would say.

use crate::support::{copy, expect, mail, mailbox, node, stored, trouble, until};
use async_nats::Client;
use messenger_core::notifier::{Mailbox, Notifier, Subscription};
use messenger_core::proto::UserId;
use messenger_nats::NatsNotifier;
use std::sync::Arc;
use std::time::Duration;
use testing_servers::Nats;
use tokio::time::timeout;

const NOTICES: u8 = 1;
const PIECE: u8 = 2;
const LAST_PIECE: u8 = 3;
const BYE: u8 = 4;

/// A node, and somebody who can say anything to it.
struct World {
    node: Arc<NatsNotifier>,
    stranger: Client,
    mailbox: Mailbox,
    _subscription: Subscription,
    _nats: Nats,
    /// How often a marker was sent, each in the name of another node.
    markers: u64,
}

impl World {
    async fn new() -> Self {
        let nats = Nats::start(&[]);
        let (node, mailbox) = (node(&nats.url()).await, mailbox());
        until("it is connected", || trouble(&node).is_empty()).await;
        let subscription = node.subscribe(&ann(), mailbox.clone());
        let mut world = Self {
            stranger: async_nats::connect(nats.url()).await.unwrap(),
            node,
            mailbox,
            _subscription: subscription,
            _nats: nats,
            markers: 0,
        };
        // It is connected a moment before it listens.
        for number in 0.. {
            world
                .say(&frame(0, number, NOTICES, &gathered(&[told(0)])))
                .await;
            let mail = timeout(Duration::from_millis(50), mail(&world.mailbox));
            if mail.await.is_ok() {
                break;
            }
        }
        world.settle().await;
        world
    }

    async fn say(&self, frame: &[u8]) {
        let subject = "messenger.from.stranger";
        let sent = self.stranger.publish(subject, frame.to_vec().into());
        sent.await.unwrap();
        self.stranger.flush().await.unwrap();
    }

    /// Waits until all that was said is heard; of what was told to the mailbox meanwhile, this is expected first.
    async fn settle_after(&mut self, seqs: &[u64]) {
        self.markers += 1;
        let (marker, seq) = (u64::MAX - self.markers, 1_000_000 + self.markers);
        self.say(&frame(marker, 0, NOTICES, &gathered(&[told(seq)])))
            .await;
        self.say(&frame(marker, 1, BYE, &[])).await;
        for seq in seqs.iter().chain([&seq]) {
            expect(&self.mailbox, *seq).await;
        }
    }

    async fn settle(&mut self) {
        self.settle_after(&[]).await;
    }
}

fn ann() -> UserId {
    UserId::from("ann")
}

fn told(seq: u64) -> Vec<u8> {
    stored(seq).encode(&ann())
}

fn frame(node: u64, number: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, kind];
    frame.extend_from_slice(&node.to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Notices behind their lengths.
fn gathered(notices: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for notice in notices {
        let length = u32::try_from(notice.len()).unwrap();
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(notice);
    }
    body
}

#[tokio::test]
async fn a_missing_frame_is_a_gap() {
    let mut world = World::new().await;
    let both = gathered(&[told(1), told(2)]);
    world.say(&frame(1, 0, NOTICES, &both)).await;
    world.settle_after(&[1, 2]).await;
    let before = world.node.gaps();
    world
        .say(&frame(1, 2, NOTICES, &gathered(&[told(4)])))
        .await;
    world.settle_after(&[4]).await;
    assert!(world.node.gaps() > before);
}

/// Somebody would be given a copy twice.
#[tokio::test]
async fn what_is_doubled_or_late_is_not_told_and_a_gap() {
    let mut world = World::new().await;
    let frames = [0, 1, 2].map(|number| frame(1, number, NOTICES, &gathered(&[told(number)])));
    for frame in &frames {
        world.say(frame).await;
    }
    world.settle_after(&[0, 1, 2]).await;
    for number in [2, 1, 0] {
        let before = world.node.gaps();
        world.say(&frames[number]).await;
        world.settle().await;
        assert!(world.node.gaps() > before);
    }
    world
        .say(&frame(1, 3, NOTICES, &gathered(&[told(3)])))
        .await;
    world.settle_after(&[3]).await;
}

#[tokio::test]
async fn what_is_torn_or_unknown_is_a_gap_and_ends_nothing() {
    let mut world = World::new().await;
    let mut later = frame(1, 0, NOTICES, &[]);
    later[0] = 2;
    let whole = frame(1, 0, NOTICES, &gathered(&[told(1)]));
    let mut torn_notice = told(1);
    torn_notice.pop();
    let large = copy("x".repeat(100)).encode(&ann());
    for frame in [
        Vec::new(),
        vec![1],
        whole[..whole.len() - 1].to_vec(),
        later,
        frame(1, 0, 9, &[]),
        frame(1, u64::MAX, NOTICES, &[]),
        frame(1, u64::MAX, NOTICES, &[]),
        frame(2, 0, NOTICES, &gathered(&[torn_notice])),
        frame(3, 0, NOTICES, &u32::MAX.to_le_bytes()),
        // Of a copy that begins elsewhere.
        frame(4, 0, LAST_PIECE, &large[50..]),
    ] {
        let before = world.node.gaps();
        world.say(&frame).await;
        world.settle().await;
        assert!(world.node.gaps() > before, "{frame:?}");
    }
}

#[tokio::test]
async fn a_notice_in_pieces_is_told_when_none_is_missing() {
    let mut world = World::new().await;
    let notice = told(1);
    let (first, rest) = notice.split_at(20);
    for (number, kind, piece) in [(0, PIECE, first), (1, LAST_PIECE, rest)] {
        world.say(&frame(1, number, kind, piece)).await;
    }
    world.settle_after(&[1]).await;
    for (number, kind, piece) in [(2, PIECE, first), (4, LAST_PIECE, rest)] {
        world.say(&frame(1, number, kind, piece)).await;
    }
    world.settle().await;
    // Others may speak between.
    for (node, number, kind, piece) in [
        (1, 5, PIECE, first),
        (2, 0, PIECE, first),
        (1, 6, LAST_PIECE, rest),
    ] {
        world.say(&frame(node, number, kind, piece)).await;
    }
    world.settle_after(&[1]).await;
}
