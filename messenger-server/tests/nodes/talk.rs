//! What users notice of there being several nodes: nothing.

use crate::cluster::{Cluster, Device, Node};
use std::collections::BTreeSet;
use std::time::Duration;
use testing_servers::DEADLINE;
use tokio::time::timeout;

/// Waits until copies come from the one to the other: nodes may have begun to hear each other just now.
async fn copies_come(from: &Device, to: &mut Device) {
    let copied = async {
        loop {
            from.client.send("ann", "are you there?").await.unwrap();
            if timeout(Duration::from_secs(1), to.events.next())
                .await
                .is_ok()
            {
                return;
            }
        }
    };
    timeout(DEADLINE, copied).await.expect("a copy comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_messenger() {
    let cluster = Cluster::start().await;
    cluster.is_ready().await;
    let [one, two] = &cluster.nodes[..] else {
        panic!("two nodes");
    };
    let mut ann = one.join("ann").await;
    let mut bob = two.join("bob").await;
    let mut tablet = one.join("bob").await;
    copies_come(&bob, &mut tablet).await;

    let mut ids = BTreeSet::new();
    for n in 0..20 {
        let sent = ann.client.send("bob", &format!("to bob {n}")).await;
        assert!(ids.insert(sent.unwrap().id), "an id is given once");
        let sent = bob.client.send("ann", &format!("to ann {n}")).await;
        assert!(ids.insert(sent.unwrap().id), "an id is given once");
    }
    let mut last = 0;
    for n in 0..20 {
        assert_eq!(bob.hears().await, format!("to bob {n}"));
        while ann.hears().await != format!("to ann {n}") {}
    }
    // His other device has all of it: what he was sent, with its numbers, and what he has sent.
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    while heard.len() < 20 || said.last().is_none_or(|body| body != "to ann 19") {
        let event = tablet.next().await;
        match event.seq {
            Some(seq) => {
                last = seq;
                heard.push((seq, event.message.body.as_str().to_owned()));
            }
            None => said.push(event.message.body.as_str().to_owned()),
        }
    }
    let expected = (0..20).map(|n| (n + 1, format!("to bob {n}")));
    assert_eq!(heard, Vec::from_iter(expected));
    said.retain(|body| body.starts_with("to ann"));
    let expected = (0..20).map(|n| format!("to ann {n}"));
    assert_eq!(said, Vec::from_iter(expected));

    // A device that comes back does so anywhere.
    let session = bob.session.clone();
    drop(bob);
    for n in 20..23 {
        ann.client
            .send("bob", &format!("to bob {n}"))
            .await
            .unwrap();
    }
    let mut bob = one.resume("bob", session).await;
    let mut missed = Vec::new();
    while missed.len() < 3 {
        let event = bob.next().await;
        // What it was given in its last moments may come again.
        if event.seq > Some(last) {
            missed.push(event.message.body.as_str().to_owned());
        }
    }
    assert_eq!(missed, ["to bob 20", "to bob 21", "to bob 22"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_nats_hear_nothing_of_each_other() {
    let cluster = Cluster::start().await;
    cluster.is_ready().await;
    let other_store = cluster.postgres.database().await;
    let other = Node::start(&other_store, &cluster.nats.url(), &[]).await;
    other.is_ready().await;
    let mut other_bob = other.join("bob").await;
    let other_ann = other.join("ann").await;
    let [one, two] = &cluster.nodes[..] else {
        panic!("two nodes");
    };
    let mut bob = one.join("bob").await;
    let ann = two.join("ann").await;
    for n in 0..10 {
        ann.client.send("bob", &format!("here {n}")).await.unwrap();
        assert_eq!(bob.hears().await, format!("here {n}"));
    }
    other_ann.client.send("bob", "there").await.unwrap();
    assert_eq!(other_bob.hears().await, "there");
}
