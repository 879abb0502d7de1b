//! All of it: the database, NATS, the nodes.

use super::folder::Folder;
use super::nats;
use super::node::{Binary, Line, Node};
use super::patience::Patience;
use super::postgres::Pair;
use futures_util::future::join_all;
use messenger_core::testing::SeededEntropy;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::join;
use tokio::time::sleep;

pub(crate) const NODES: usize = 3;

/// How long a client that was turned away waits before it tries another node.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) nats: nats::Cluster,
    pub(crate) postgres: Pair,
    pub(crate) patience: Arc<Patience>,
    settings: Vec<&'static str>,
    /// What each node runs.
    binaries: Mutex<Vec<Binary>>,
    /// Last, so that the processes are gone when it goes.
    pub(crate) folder: Arc<Folder>,
}

impl Cluster {
    /// Starts everything, the nodes with these settings.
    pub(crate) async fn start(settings: &[&'static str]) -> Self {
        let folder = Arc::new(Folder::new());
        let (patience, postgres, nats) = join!(
            Patience::new(&folder),
            Pair::start(&folder),
            nats::Cluster::start(&folder)
        );
        let patience = Arc::new(patience);
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let node = Node::new(number, &folder, &postgres, &nats, &patience).await;
            nodes.push(Arc::new(node));
        }
        let mut binaries = vec![Binary::of_today(); NODES];
        if let Some(old) = Binary::of_yesterday() {
            binaries[0] = old;
        }
        let cluster = Self {
            nodes,
            nats,
            postgres,
            patience,
            settings: settings.to_vec(),
            binaries: Mutex::new(binaries),
            folder,
        };
        // The first makes the tables: those of an earlier version, if it is of one.
        cluster.start_node(0).await;
        join_all((1..NODES).map(|number| cluster.start_node(number))).await;
        cluster
    }

    /// Starts a node that is not running.
    pub(crate) async fn start_node(&self, number: usize) {
        let binary = self.binaries.lock().unwrap()[number].clone();
        self.nodes[number].start(&binary, &self.settings).await;
    }

    /// Starts a node that is not running, with a clock that is an hour ahead.
    pub(crate) async fn start_node_an_hour_ahead(&self, number: usize) {
        let binary = self.binaries.lock().unwrap()[number].clone();
        let binary = binary.an_hour_ahead();
        self.nodes[number].start(&binary, &self.settings).await;
    }

    /// The versions that nodes run move on by one node, so that with an old binary all nodes have run it in the end.
    pub(crate) fn rotate_binaries(&self) {
        self.binaries.lock().unwrap().rotate_right(1);
    }

    /// A connection to any node that takes one.
    pub(crate) async fn connect(&self, random: &SeededEntropy) -> Line {
        loop {
            let node = &self.nodes[random.below(NODES)];
            if let Some(line) = node.connect().await {
                return line;
            }
            sleep(PAUSE).await;
        }
    }
}
