//! What goes wrong. Each fault begins, lasts for some time, and ends; service then has to be back by itself.

use super::cluster::{Cluster, NODES};
use super::nats;
use super::node::Node;
use super::postgres;
use super::proxy::Way;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node is killed, and started again.
    NodeKilled,
    NodeFrozen,
    /// Each node in turn is told to stop, and another takes its place; with `CLUSTER_OLD_BINARY` of another version.
    RollingRestart,
    NodeAnHourAhead,
    /// The connections of a node's clients are reset.
    ClientsCut,
    /// The primary is killed, and started again.
    PostgresKilled,
    PostgresFrozen,
    /// No node reaches either database server.
    PostgresRefused,
    PostgresSilent,
    /// The primary dies, and the standby takes its place.
    StandbyPromoted,
    /// As before, but the dead primary's machine is silent: nodes are not told that nobody listens there.
    StandbyPromotedInSilence,
    /// Nothing can be committed.
    StandbyFrozen,
    /// All connections to the database are ended, again and again.
    BackendsTerminated,
    /// Somebody holds a lock on one inbox.
    InboxLocked,
    NodeCutFromPostgres,
    /// The database hears a node, and the node hears no answer.
    NodeHearsNoDatabase,
    NodeSlowToPostgres,
    NatsKilledInTurn,
    NatsFrozen,
    /// One NATS server is cut off from the other two, while nodes are connected to each.
    NatsPartitioned,
    NatsAway,
    NodeCutFromNats,
    NodeHearsNoNats,
    /// All senders of all nodes send to one recipient.
    HotRecipient,
}

impl Fault {
    pub(crate) const ALL: [Self; 24] = [
        Self::NodeKilled,
        Self::NodeFrozen,
        Self::RollingRestart,
        Self::NodeAnHourAhead,
        Self::ClientsCut,
        Self::PostgresKilled,
        Self::PostgresFrozen,
        Self::PostgresRefused,
        Self::PostgresSilent,
        Self::StandbyPromoted,
        Self::StandbyPromotedInSilence,
        Self::StandbyFrozen,
        Self::BackendsTerminated,
        Self::InboxLocked,
        Self::NodeCutFromPostgres,
        Self::NodeHearsNoDatabase,
        Self::NodeSlowToPostgres,
        Self::NatsKilledInTurn,
        Self::NatsFrozen,
        Self::NatsPartitioned,
        Self::NatsAway,
        Self::NodeCutFromNats,
        Self::NodeHearsNoNats,
        Self::HotRecipient,
    ];

    /// Lets it happen, to this node or NATS server if it happens to one, for this time.
    pub(crate) async fn happen(
        self,
        cluster: &Cluster,
        victim: usize,
        time: Duration,
        is_hot: &AtomicBool,
    ) {
        let node = &cluster.nodes[victim];
        match self {
            Self::NodeKilled => {
                node.kill();
                sleep(time).await;
                cluster.start_node(victim).await;
            }
            Self::NodeFrozen => {
                node.freeze();
                sleep(time).await;
                node.thaw();
            }
            Self::RollingRestart => roll(cluster).await,
            Self::NodeAnHourAhead => {
                node.stop().await;
                cluster.start_node_an_hour_ahead(victim).await;
                assert_is_ahead(node, &cluster.nodes[(victim + 1) % NODES]).await;
                sleep(time).await;
                node.stop().await;
                cluster.start_node(victim).await;
            }
            Self::ClientsCut => {
                repeat(time, async || node.clients.cut()).await;
            }
            Self::PostgresKilled => {
                cluster.postgres.primary().kill();
                sleep(time).await;
                cluster.postgres.primary().start();
                // It is back when it lets somebody in.
                cluster.postgres.primary().client(postgres::NAME).await;
            }
            Self::PostgresFrozen => {
                cluster.postgres.primary().freeze();
                sleep(time).await;
                cluster.postgres.primary().thaw();
            }
            Self::PostgresRefused => to_postgres(cluster, Way::Refused, time).await,
            Self::PostgresSilent => to_postgres(cluster, Way::DEAD, time).await,
            Self::StandbyPromoted => fail_over(cluster, Way::Open).await,
            Self::StandbyPromotedInSilence => fail_over(cluster, Way::DEAD).await,
            Self::StandbyFrozen => {
                cluster.postgres.standby().freeze();
                sleep(time).await;
                cluster.postgres.standby().thaw();
            }
            Self::BackendsTerminated => {
                let client = cluster.postgres.primary().client("postgres").await;
                let sql = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
                    postgres::NAME
                );
                repeat(time, async || client.batch_execute(&sql).await.unwrap()).await;
            }
            Self::InboxLocked => lock_an_inbox(cluster, time).await,
            Self::NodeCutFromPostgres => {
                node.cut_from_postgres(Way::DEAD);
                sleep(time).await;
                node.cut_from_postgres(Way::Open);
            }
            Self::NodeHearsNoDatabase => {
                node.cut_from_postgres(Way::ANSWERLESS);
                sleep(time).await;
                node.cut_from_postgres(Way::Open);
            }
            Self::NodeSlowToPostgres => {
                node.cut_from_postgres(Way::Slow(LATE));
                sleep(time).await;
                node.cut_from_postgres(Way::Open);
            }
            Self::NatsKilledInTurn => {
                for server in &cluster.nats.servers {
                    server.kill();
                    sleep(time / 3).await;
                    server.start().await;
                }
            }
            Self::NatsFrozen => {
                cluster.nats.servers[victim].freeze();
                sleep(time).await;
                cluster.nats.servers[victim].thaw();
            }
            Self::NatsPartitioned => partition(cluster, victim, time).await,
            Self::NatsAway => {
                cluster.nats.servers.iter().for_each(nats::Server::kill);
                sleep(time).await;
                for server in &cluster.nats.servers {
                    server.start().await;
                }
            }
            Self::NodeCutFromNats => {
                node.cut_from_nats(Way::DEAD);
                sleep(time).await;
                node.cut_from_nats(Way::Open);
            }
            Self::NodeHearsNoNats => {
                node.cut_from_nats(Way::ANSWERLESS);
                sleep(time).await;
                node.cut_from_nats(Way::Open);
            }
            Self::HotRecipient => {
                is_hot.store(true, Ordering::Relaxed);
                sleep(time).await;
                is_hot.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Makes whole what the fault has left, when service is back without it.
    pub(crate) async fn clear_up(self, cluster: &Cluster) {
        if matches!(self, Self::StandbyPromoted | Self::StandbyPromotedInSilence) {
            cluster.postgres.attach().await;
            for node in &cluster.nodes {
                node.cut_from_postgres(Way::Open);
            }
        }
    }
}

/// How late everything is on a slow way.
const LATE: Duration = Duration::from_millis(150);

/// Between two blows.
const PAUSE: Duration = Duration::from_millis(200);

async fn repeat(time: Duration, blow: impl AsyncFn()) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        blow().await;
        sleep(PAUSE).await;
    }
}

async fn roll(cluster: &Cluster) {
    cluster.rotate_binaries();
    for number in 0..NODES {
        cluster.nodes[number].stop().await;
        cluster.start_node(number).await;
    }
}

async fn to_postgres(cluster: &Cluster, way: Way, time: Duration) {
    for node in &cluster.nodes {
        node.cut_from_postgres(way);
    }
    sleep(time).await;
    for node in &cluster.nodes {
        node.cut_from_postgres(Way::Open);
    }
}

/// The primary dies and its machine answers like this; the standby takes its place.
async fn fail_over(cluster: &Cluster, dead: Way) {
    let primary = cluster.postgres.primary();
    let number = usize::from(!std::ptr::eq(
        primary,
        &raw const cluster.postgres.servers[0],
    ));
    for node in &cluster.nodes {
        node.postgres[number].set(dead);
    }
    primary.kill();
    cluster.postgres.promote().await;
}

async fn assert_is_ahead(node: &Arc<Node>, other: &Arc<Node>) {
    let time = async |node: &Arc<Node>| node.connect().await.unwrap().client.welcome().time;
    let ahead = time(node).await.abs_diff(time(other).await);
    assert!(
        ahead > 3000,
        "the clock of {} is {ahead} s ahead",
        node.name
    );
}

async fn lock_an_inbox(cluster: &Cluster, time: Duration) {
    let client = cluster.postgres.primary().client(postgres::NAME).await;
    let lock = "BEGIN; SELECT 1 FROM inboxes WHERE user_no =
        (SELECT no FROM users WHERE login = 'recipient0') FOR UPDATE";
    client.batch_execute(lock).await.unwrap();
    sleep(time).await;
    client.batch_execute("ROLLBACK").await.unwrap();
}

/// Nodes keep the NATS server they are on, so each is put on another first: the node whose number the server has.
async fn partition(cluster: &Cluster, victim: usize, time: Duration) {
    for (number, node) in cluster.nodes.iter().enumerate() {
        for (server, proxy) in node.nats.iter().enumerate() {
            if server != number {
                proxy.set(Way::Refused);
            }
        }
    }
    sleep(MOVING).await;
    cluster.nats.set_routes(victim, Way::DEAD);
    sleep(time).await;
    cluster.nats.set_routes(victim, Way::Open);
    for node in &cluster.nodes {
        node.cut_from_nats(Way::Open);
    }
}

/// In which time a node has found the NATS server that takes it.
const MOVING: Duration = Duration::from_secs(1);
