//! An operator's commands, on a database that servers use.

use crate::cluster::{Cluster, Node};
use crate::start::run;
use messenger_client::proto::Password;

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_beside_the_nodes() {
    let cluster = Cluster::start().await;
    let mut ann = cluster.nodes[0].join("ann").await;
    let mut bob = cluster.nodes[1].join("bob").await;
    ann.client.send("bob", "hello").await.unwrap();
    bob.hears().await;
    let command = async |line: &str, input: &str| run(&cluster.store, line, input).await;

    let (code, checked) = command("check", "").await;
    assert_eq!(code, Some(0), "{checked}");
    assert!(checked.contains("no standby"), "{checked}");
    assert!(checked.contains("are sound"), "{checked}");
    let (_, checked) = command("check --notifier nats://127.0.0.1:1", "").await;
    assert!(checked.contains("NATS at 127.0.0.1:1: "), "{checked}");
    let reached = format!("check --notifier {}", cluster.nats.url());
    let (_, checked) = command(&reached, "").await;
    assert!(!checked.contains("NATS"), "{checked}");
    assert_eq!(
        command("user list", "").await,
        (Some(0), "ann\nbob\n".to_owned())
    );
    let (_, shown) = command("user show bob", "").await;
    assert!(shown.contains("nick: bob\n"), "{shown}");
    let (code, exported) = command("user export bob", "").await;
    assert_eq!(code, Some(0));
    assert!(exported.contains("\"messages_received\": 1"), "{exported}");

    let (_, sessions) = command("session list ann", "").await;
    let (session, _) = sessions.split_once(' ').unwrap();
    let (code, _) = command(&format!("session end ann {session}"), "").await;
    assert_eq!(code, Some(0));
    ann.is_closed().await;
    let (code, _) = command("user reset-password bob", "fresh\n").await;
    assert_eq!(code, Some(0));
    bob.is_closed().await;
    let (client, _events) = messenger_client::connect(&cluster.nodes[0].process.address)
        .await
        .unwrap();
    let fresh = Password::from("fresh");
    client.auth("bob", &fresh).await.unwrap();
    let (code, _) = command("user delete bob", "").await;
    assert_eq!(code, Some(0));
    let (code, gone) = command("user show bob", "").await;
    assert_eq!(code, Some(1));
    assert!(gone.contains("there is no user bob"), "{gone}");

    for (line, tool) in [
        ("backup x.db", "pg_basebackup"),
        ("salvage x.db", "pg_amcheck"),
    ] {
        let (code, told) = command(line, "").await;
        assert_eq!(code, Some(1));
        assert!(told.contains(tool), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_gives_new_numbers() {
    let mut cluster = Cluster::start().await;
    let ann = cluster.nodes[0].join("ann").await;
    let mut bob = cluster.nodes[1].join("bob").await;
    ann.client.send("bob", "before").await.unwrap();
    let before = bob.next().await.seq.unwrap();
    let session = bob.session.clone();
    drop((ann, bob));
    for node in cluster.nodes.drain(..) {
        node.process.kill().await;
    }
    let (code, told) = run(&cluster.store, "restored", "").await;
    assert_eq!(code, Some(0), "{told}");
    let node = Node::start(&cluster.store, &cluster.nats.url(), &[]).await;
    let mut bob = node.resume("bob", session).await;
    bob.client.send("bob", "after").await.unwrap();
    let after = loop {
        let event = bob.next().await;
        if event.message.body.as_str() == "after" {
            break event.seq.unwrap();
        }
    };
    assert!(after > 1_000_000 + before, "{after}");
}
