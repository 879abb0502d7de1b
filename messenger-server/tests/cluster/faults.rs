//! What goes wrong. Each fault begins, lasts for some time, and ends; service then has to be back by itself.

use super::cluster::{Cluster, NODES};
use super::nats;
use super::node::Node;
use super::patience::REQUEST;
use super::postgres;
use super::proxy::Way;
use super::sender::Load;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How late everything is on a slow way.
const LATE: Duration = Duration::from_millis(150);

/// Between two blows.
const PAUSE: Duration = Duration::from_millis(200);

/// In which time a node has found the NATS server that takes it.
const MOVING: Duration = Duration::from_secs(1);

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
    /// The primary dies when its standby has stood still for long, and that takes its place: it lacks nothing that
    /// anybody was told was stored.
    StandbyPromotedLate,
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
    /// All senders send to one recipient, without a pause.
    HotRecipient,
}

/// What a fault is one of. Two of the same would undo each other.
#[derive(PartialEq, Eq)]
pub(crate) enum Part {
    Nodes,
    Database,
    Nats,
    Load,
}

impl Fault {
    pub(crate) const ALL: [Self; 25] = [
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
        Self::StandbyPromotedLate,
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

    pub(crate) fn part(self) -> Part {
        match self {
            Self::NodeKilled
            | Self::NodeFrozen
            | Self::RollingRestart
            | Self::NodeAnHourAhead
            | Self::ClientsCut => Part::Nodes,
            Self::NatsKilledInTurn
            | Self::NatsFrozen
            | Self::NatsPartitioned
            | Self::NatsAway
            | Self::NodeCutFromNats
            | Self::NodeHearsNoNats => Part::Nats,
            Self::HotRecipient => Part::Load,
            _ => Part::Database,
        }
    }

    /// Whether every node has to serve while it lasts: no fault of NATS is one of service.
    pub(crate) fn leaves_service(self) -> bool {
        matches!(
            self,
            Self::NatsFrozen
                | Self::NatsPartitioned
                | Self::NatsAway
                | Self::NodeCutFromNats
                | Self::NodeHearsNoNats
                | Self::NodeSlowToPostgres
                | Self::HotRecipient
        )
    }

    /// Lets it happen, to this node or NATS server if it happens to one, for as long as something else takes.
    pub(crate) async fn happen(
        self,
        cluster: &Cluster,
        victim: usize,
        load: &Load,
        meanwhile: impl Future<Output = ()>,
    ) {
        let node = &cluster.nodes[victim];
        let (postgres, nats) = (&cluster.postgres, &cluster.nats);
        match self {
            Self::NodeKilled => {
                node.kill();
                meanwhile.await;
                cluster.start_node(victim).await;
            }
            Self::NodeFrozen => {
                node.freeze();
                meanwhile.await;
                node.thaw();
            }
            Self::RollingRestart => roll(cluster).await,
            Self::NodeAnHourAhead => {
                node.stop().await;
                cluster.start_node_an_hour_ahead(victim).await;
                assert_is_ahead(node, &cluster.nodes[(victim + 1) % NODES]).await;
                meanwhile.await;
                node.stop().await;
                cluster.start_node(victim).await;
            }
            Self::ClientsCut => repeat(async || node.clients.cut(), meanwhile).await,
            Self::PostgresKilled => {
                postgres.primary().kill();
                meanwhile.await;
                postgres.primary().start();
                // It is back when it lets somebody in.
                postgres.primary().client(postgres::NAME).await;
            }
            Self::PostgresFrozen => {
                postgres.primary().freeze();
                meanwhile.await;
                postgres.primary().thaw();
            }
            Self::PostgresRefused => to_postgres(&cluster.nodes, Way::Refused, meanwhile).await,
            Self::PostgresSilent => to_postgres(&cluster.nodes, Way::DEAD, meanwhile).await,
            Self::StandbyPromoted => fail_over(cluster, Way::Open, meanwhile).await,
            Self::StandbyPromotedInSilence => fail_over(cluster, Way::DEAD, meanwhile).await,
            Self::StandbyPromotedLate => {
                postgres.standby().freeze();
                sleep(REQUEST).await;
                meanwhile.await;
                postgres.primary().kill();
                postgres.standby().thaw();
                postgres.promote().await;
            }
            Self::StandbyFrozen => {
                postgres.standby().freeze();
                meanwhile.await;
                postgres.standby().thaw();
            }
            Self::BackendsTerminated => terminate_backends(cluster, meanwhile).await,
            Self::InboxLocked => lock_an_inbox(cluster, meanwhile).await,
            Self::NodeCutFromPostgres => to_postgres([node], Way::DEAD, meanwhile).await,
            Self::NodeHearsNoDatabase => to_postgres([node], Way::ANSWERLESS, meanwhile).await,
            Self::NodeSlowToPostgres => to_postgres([node], Way::Slow(LATE), meanwhile).await,
            Self::NatsKilledInTurn => {
                for server in &nats.servers {
                    server.kill();
                    sleep(PAUSE).await;
                    server.start().await;
                }
            }
            Self::NatsFrozen => {
                nats.servers[victim].freeze();
                meanwhile.await;
                nats.servers[victim].thaw();
            }
            Self::NatsPartitioned => partition(cluster, victim, meanwhile).await,
            Self::NatsAway => {
                nats.servers.iter().for_each(nats::Server::kill);
                meanwhile.await;
                for server in &nats.servers {
                    server.start().await;
                }
            }
            Self::NodeCutFromNats => to_nats(node, Way::DEAD, meanwhile).await,
            Self::NodeHearsNoNats => to_nats(node, Way::ANSWERLESS, meanwhile).await,
            Self::HotRecipient => {
                load.is_hot.store(true, Ordering::Relaxed);
                meanwhile.await;
                load.is_hot.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Makes whole what the fault has left, when service is back without it.
    pub(crate) async fn clear_up(self, cluster: &Cluster) {
        let is_promoted = matches!(
            self,
            Self::StandbyPromoted | Self::StandbyPromotedInSilence | Self::StandbyPromotedLate
        );
        if is_promoted {
            cluster.postgres.attach().await;
            for node in &cluster.nodes {
                node.cut_from_postgres(Way::Open);
            }
        }
    }
}

async fn repeat(blow: impl AsyncFn(), meanwhile: impl Future<Output = ()>) {
    let blows = async {
        loop {
            blow().await;
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = blows => {}
        () = meanwhile => {}
    }
}

async fn roll(cluster: &Cluster) {
    cluster.rotate_binaries();
    for number in 0..NODES {
        cluster.nodes[number].stop().await;
        cluster.start_node(number).await;
    }
}

async fn to_postgres<'a>(
    nodes: impl IntoIterator<Item = &'a Arc<Node>> + Clone,
    way: Way,
    meanwhile: impl Future<Output = ()>,
) {
    let set = |way| {
        for node in nodes.clone() {
            node.cut_from_postgres(way);
        }
    };
    set(way);
    meanwhile.await;
    set(Way::Open);
}

async fn to_nats(node: &Node, way: Way, meanwhile: impl Future<Output = ()>) {
    node.cut_from_nats(way);
    meanwhile.await;
    node.cut_from_nats(Way::Open);
}

async fn terminate_backends(cluster: &Cluster, meanwhile: impl Future<Output = ()>) {
    let client = cluster.postgres.primary().client("postgres").await;
    let name = postgres::NAME;
    let sql =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let terminate = async || client.batch_execute(&sql).await.unwrap();
    repeat(terminate, meanwhile).await;
}

/// The primary dies and its machine answers like this; some time later the standby takes its place.
async fn fail_over(cluster: &Cluster, dead: Way, meanwhile: impl Future<Output = ()>) {
    let primary = cluster.postgres.primary();
    let number = usize::from(!std::ptr::eq(
        primary,
        &raw const cluster.postgres.servers[0],
    ));
    for node in &cluster.nodes {
        node.postgres[number].set(dead);
    }
    primary.kill();
    meanwhile.await;
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

async fn lock_an_inbox(cluster: &Cluster, meanwhile: impl Future<Output = ()>) {
    let client = cluster.postgres.primary().client(postgres::NAME).await;
    let lock = "BEGIN; SELECT 1 FROM inboxes WHERE user_no =
        (SELECT no FROM users WHERE login = 'recipient0') FOR UPDATE";
    client.batch_execute(lock).await.unwrap();
    meanwhile.await;
    client.batch_execute("ROLLBACK").await.unwrap();
}

/// Nodes keep the NATS server they are on, so each is put on another first: the node whose number the server has.
async fn partition(cluster: &Cluster, victim: usize, meanwhile: impl Future<Output = ()>) {
    for (number, node) in cluster.nodes.iter().enumerate() {
        for (server, proxy) in node.nats.iter().enumerate() {
            if server != number {
                proxy.set(Way::Refused);
            }
        }
    }
    sleep(MOVING).await;
    cluster.nats.set_routes(victim, Way::DEAD);
    meanwhile.await;
    cluster.nats.set_routes(victim, Way::Open);
    for node in &cluster.nodes {
        node.cut_from_nats(Way::Open);
    }
}
