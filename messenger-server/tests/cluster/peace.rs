//! What several nodes are for, when nothing is wrong.

use super::cluster::{Cluster, NODES};
use super::node::{Line, pass};
use super::patience::DEADLINE;
use futures_util::future::join_all;
use messenger_client::ClientError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// After so long another attempt is made.
const A_WHILE: Duration = Duration::from_secs(1);

async fn line(cluster: &Cluster, node: usize) -> Line {
    cluster.nodes[node].connect().await.expect("a connection")
}

/// The next message, and whether it is an own copy.
async fn next(line: &mut Line) -> (String, bool) {
    let event = timeout(DEADLINE, line.events.next_message()).await;
    let event = event.expect("a message").unwrap();
    (event.message.body.as_str().to_owned(), event.seq.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_one_server() {
    // With the limits of a server that nobody has told otherwise.
    let cluster = Arc::new(Cluster::start(&[]).await);
    devices_on_different_nodes_see_everything(&cluster).await;
    a_session_is_resumed_at_any_node(&cluster).await;
    failed_log_ins_are_counted_across_nodes(&cluster).await;
    cluster.folder.forget();
}

async fn devices_on_different_nodes_see_everything(cluster: &Cluster) {
    let mut devices = Vec::new();
    for node in 0..NODES {
        let device = line(cluster, node).await;
        device.log_in("ann", false).await;
        devices.push(device);
    }
    let mut other = line(cluster, 0).await;
    other.log_in("bob", false).await;
    line(cluster, 0).await.log_in("nobody", false).await;
    for from in 0..NODES {
        are_heard_from(&mut devices, from).await;
    }
    for from in 0..NODES {
        let body = format!("copied from {from}");
        devices[from].client.send("bob", &body).await.unwrap();
        for device in &mut devices {
            assert_eq!(next(device).await, (body.clone(), true));
        }
        assert_eq!(next(&mut other).await, (body, false));
    }
    other.client.send("ann", "back").await.unwrap();
    for device in &mut devices {
        assert_eq!(next(device).await, ("back".to_owned(), false));
    }
}

/// Nodes that have just been started may not hear each other yet, and an own copy is given once at the most.
async fn are_heard_from(devices: &mut [Line], from: usize) {
    for number in 0.. {
        let body = format!("attempt {number} from {from}");
        devices[from].client.send("nobody", &body).await.unwrap();
        let copied = devices
            .iter_mut()
            .map(|device| async { while next(device).await.0 != body {} });
        if timeout(A_WHILE, join_all(copied)).await.is_ok() {
            return;
        }
        assert!(number < 100, "nodes do not hear each other");
    }
}

async fn a_session_is_resumed_at_any_node(cluster: &Cluster) {
    let sender = line(cluster, 0).await;
    sender.log_in("cid", false).await;
    let session = line(cluster, 0).await.log_in("dan", true).await;
    let mut seen = 0;
    for number in 0..2 * NODES {
        let body = format!("message {number}");
        sender.client.send("dan", &body).await.unwrap();
        let mut device = line(cluster, number % NODES).await;
        assert!(device.resume(&session, seen).await, "resumes");
        assert_eq!(
            next(&mut device).await,
            (body, false),
            "what it has missed, and nothing else"
        );
        seen = device.events.last_seq();
        if number % 2 == 0 {
            device.client.ack(seen).await.unwrap();
        }
    }
}

async fn failed_log_ins_are_counted_across_nodes(cluster: &Cluster) {
    let code = async |node: usize, pass: &str| {
        let pass = messenger_client::proto::Password::from(pass.to_owned());
        match line(cluster, node).await.client.auth("ann", &pass).await {
            Err(ClientError::Refused(failure)) => failure.code.number(),
            other => panic!("{other:?}"),
        }
    };
    // Five a minute for each login.
    for number in 0..5 {
        assert_eq!(code(number % NODES, "guessed").await, 2);
    }
    for node in 0..NODES {
        assert_eq!(
            code(node, "guessed").await,
            20,
            "no more guesses at any node"
        );
        let known = line(cluster, node).await.client.auth("ann", &pass()).await;
        assert!(matches!(known, Err(ClientError::Refused(failure)) if failure.code.number() == 20));
    }
}
