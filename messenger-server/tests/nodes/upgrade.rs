//! What becomes of nodes when one of a later version has changed the tables.

use crate::cluster::Cluster;
use crate::start::{refused, run};

/// What a later version may have made of the tables.
const LATER: &str = "BEGIN;
    ALTER TABLE users ADD COLUMN later bigint NOT NULL DEFAULT 7;
    ALTER TABLE inboxes ADD COLUMN later bigint NOT NULL DEFAULT 7;
    ALTER TABLE messages ADD COLUMN later bigint NOT NULL DEFAULT 7;
    ALTER TABLE sessions ADD COLUMN later bigint NOT NULL DEFAULT 7;
    UPDATE about SET value = '99' WHERE name = 'version';
    COMMIT";

const UPDATE: &str = "the database was made by a later version of this program (its tables have version 99): update this one";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_until_they_are_to_be_started_again() {
    let cluster = Cluster::start().await;
    cluster.is_ready().await;
    let [one, two] = &cluster.nodes[..] else {
        panic!("two nodes");
    };
    let mut ann = one.join("ann").await;
    let mut bob = two.join("bob").await;
    ann.client.send("bob", "before").await.unwrap();
    assert_eq!(bob.hears().await, "before");
    let (_, database) = cluster.store.rsplit_once('/').unwrap();
    let client = cluster.postgres.client(database).await;
    client.batch_execute(LATER).await.unwrap();

    ann.client.send("bob", "behind").await.unwrap();
    assert_eq!(bob.hears().await, "behind");
    let tablet = two.join("ann").await;
    let mut phone = one.resume("ann", tablet.session).await;
    bob.client.send("ann", "to both").await.unwrap();
    assert_eq!(ann.hears().await, "to both");
    assert_eq!(phone.hears().await, "to both");

    let said = refused(&["--store", &cluster.store, "--notifier", &cluster.nats.url()]).await;
    assert!(said.contains(UPDATE), "{said}");
    let (code, said) = run(&cluster.store, "user list", "").await;
    assert_eq!(code, Some(1));
    assert!(said.contains(UPDATE), "{said}");
    cluster.is_ready().await;
}
