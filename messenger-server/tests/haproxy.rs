//! HAProxy as `deploy/haproxy/haproxy.cfg` sets it up, in front of real nodes.
//!
//! The nodes here share no store, so that a session tells which of them is reached.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::certificate::Files;
use support::process::Process;
use support::{Raw, SOON};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::process::{Child, Command};

const CONFIGURATION: &str = include_str!("../../deploy/haproxy/haproxy.cfg");

/// Passes its standard input and output on as sockets, and leaves none of them.
const PASS: &str = r#"exec 3<&0 4<&1 </dev/null >/dev/null; exec haproxy -db -f "$0""#;

struct Node {
    process: Process,
    over_tls: SocketAddr,
    metrics: SocketAddr,
}

impl Node {
    async fn start(files: &Files) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command.args(["--store", "memory:", "--listen", "127.0.0.1:0"]);
        command.args(["--tls-listen", "127.0.0.1:0"]);
        command.arg("--tls-cert").arg(files.certificates());
        command.arg("--tls-key").arg(files.key());
        command.args(["--proxy-from", "127.0.0.1"]);
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        let process = Process::spawn(command).await;
        let told = process.address_behind("metrics are told").await;
        let over_tls = process.address_behind("listening for TLS").await;
        Self {
            metrics: told.parse().unwrap(),
            over_tls: over_tls.parse().unwrap(),
            process,
        }
    }
}

/// HAProxy before two nodes, which ends with this.
struct Haproxy {
    folder: TempDir,
    _process: Child,
    address: SocketAddr,
    over_tls: SocketAddr,
}

impl Haproxy {
    fn start(nodes: [&Node; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("admin.sock");
        let [plain, tls] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let mut configuration = CONFIGURATION
            .replace("/run/haproxy/admin.sock", admin.to_str().unwrap())
            .replace("bind :7788", "bind fd@3")
            .replace("bind :7790", "bind fd@4")
            .replace("bind :7792", &format!("bind unix@{}.wss", admin.display()))
            .replace(" port 7789", "");
        for (number, node) in (1..).zip(nodes) {
            let (name, plain) = (format!("node{number}"), &node.process.address);
            let metrics = node.metrics.port();
            configuration = configuration
                .replace(&format!("{name}:7788"), &format!("{plain} port {metrics}"))
                .replace(&format!("{name}:7790"), &node.over_tls.to_string())
                .replace(&format!("{name}:7792"), &node.over_tls.to_string());
        }
        // Whoever runs the tests may not become another user, nor open as many files, and there are two nodes.
        let left_out = ["user ", "group ", "chroot ", "maxconn ", "server node3 "];
        let mut lines: Vec<_> = configuration.lines().collect();
        lines.retain(|line| !left_out.iter().any(|left| line.trim().starts_with(left)));
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        let [address, over_tls] = [&plain, &tls].map(|socket| socket.local_addr().unwrap());
        let passed = |socket: TcpListener| Stdio::from(OwnedFd::from(socket));
        let mut command = Command::new("sh");
        command.args(["-c", PASS]).arg(file);
        command.stdin(passed(plain)).stdout(passed(tls));
        command.stderr(Stdio::null());
        let started = command.kill_on_drop(true).spawn();
        Self {
            folder,
            _process: started.expect("HAProxy is needed: apt-get install haproxy"),
            address,
            over_tls,
        }
    }

    /// A connection to whichever node HAProxy chooses.
    async fn connect(&self) -> Raw {
        self.connect_from("127.0.0.1").await
    }

    async fn connect_from(&self, address: &str) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        Raw::new(socket.connect(self.address).await.unwrap())
    }

    /// Tells HAProxy something over its socket; what it answers.
    async fn tell(&self, command: &str) -> String {
        let admin: PathBuf = self.folder.path().join("admin.sock");
        let begun = Instant::now();
        let mut socket = loop {
            match UnixStream::connect(&admin).await {
                Ok(socket) => break socket,
                Err(error) => assert!(begun.elapsed() < SOON, "HAProxy does not start: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let line = format!("{command}\n");
        socket.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Waits until HAProxy says this of a node: `UP`, `DOWN`, `DRAIN`.
    async fn knows(&self, node: &str, state: &str) {
        let begun = Instant::now();
        loop {
            let told = self.tell("show stat").await;
            for backend in ["nodes", "nodes_tls"] {
                let start = format!("{backend},{node},");
                let line = told.lines().find(|line| line.starts_with(&start)).unwrap();
                let now = line.split(',').nth(17).unwrap();
                if backend == "nodes_tls" && now.starts_with(state) {
                    return;
                }
                if !now.starts_with(state) {
                    break;
                }
            }
            assert!(begun.elapsed() < SOON, "{node} is not {state}:\n{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A session on the node at the other end, by which that one is known again.
async fn begin(raw: &mut Raw, login: &str) -> String {
    raw.frame().await;
    raw.log_in(login).await
}

/// True when the node at the other end knows the session.
async fn is_known(raw: &mut Raw, login: &str, sid: &str) -> bool {
    raw.frame().await;
    let data = format!(r#"{{"cid":"{login}","sid":"{sid}"}}"#);
    raw.send(&format!(r#"{{"action":"contactlist","data":{data}}}"#))
        .await;
    raw.frame().await["data"]["status"] == 0
}

/// Two nodes behind HAProxy, and a session on each.
struct Site {
    nodes: [Node; 2],
    haproxy: Haproxy,
    sessions: [(Raw, String); 2],
}

impl Site {
    async fn start() -> (Self, Files) {
        let files = Files::new();
        let nodes = [Node::start(&files).await, Node::start(&files).await];
        let haproxy = Haproxy::start([&nodes[0], &nodes[1]]);
        let mut sessions = Vec::new();
        for (node, other) in [("node1", "node2"), ("node2", "node1")] {
            haproxy.knows(node, "UP").await;
            haproxy
                .tell(&format!("set server nodes/{other} state drain"))
                .await;
            let mut raw = haproxy.connect().await;
            let sid = begin(&mut raw, "ann").await;
            sessions.push((raw, sid));
            haproxy
                .tell(&format!("set server nodes/{other} state ready"))
                .await;
            haproxy.knows(other, "UP").await;
        }
        let sessions = sessions.try_into().ok().unwrap();
        let site = Self {
            nodes,
            haproxy,
            sessions,
        };
        (site, files)
    }

    /// Connects many times; all of them have to end up at this node.
    async fn all_reach(&self, node: usize) {
        for _ in 0..20 {
            let mut raw = self.haproxy.connect().await;
            assert!(is_known(&mut raw, "ann", &self.sessions[node].1).await);
        }
    }
}

#[tokio::test]
async fn a_node_learns_where_a_client_is() {
    let (site, files) = Site::start().await;
    let mut raw = site.haproxy.connect_from("127.0.0.9").await;
    raw.frame().await;
    let wrong = r#"{"action":"auth","data":{"login":"ann","pass":"wrong"}}"#;
    raw.send(wrong).await;
    assert_ne!(raw.frame().await["data"]["status"], 0);
    let logged = site
        .nodes
        .each_ref()
        .map(|node| node.process.logs("address=127.0.0.9"));
    let [first, second] = logged;
    tokio::select! {
        () = first => {}
        () = second => {}
    }
    // TLS ends at the node: its certificate is what the client sees.
    files.client(&site.haproxy.over_tls.to_string()).await;
}

#[tokio::test]
async fn a_node_that_is_drained_keeps_its_connections_and_gets_no_new_ones() {
    let (mut site, _files) = Site::start().await;
    site.haproxy
        .tell("set server nodes/node1 state drain")
        .await;
    site.haproxy.knows("node1", "DRAIN").await;
    site.all_reach(1).await;
    site.sessions[0].0.probe().await;

    site.haproxy
        .tell("set server nodes/node1 state ready")
        .await;
    site.haproxy.knows("node1", "UP").await;
    let begun = Instant::now();
    loop {
        let mut raw = site.haproxy.connect().await;
        if is_known(&mut raw, "ann", &site.sessions[0].1).await {
            break;
        }
        assert!(begun.elapsed() < SOON, "it gets none");
    }
}

#[tokio::test]
async fn a_node_that_is_stopped_costs_nobody_a_connection() {
    let (mut site, _files) = Site::start().await;
    site.nodes[0].process.signal("TERM").await;
    // HAProxy may not know yet.
    assert!(site.sessions[0].0.try_frame().await.is_none());
    site.all_reach(1).await;
    site.haproxy.knows("node1", "DOWN").await;
    site.all_reach(1).await;
    site.sessions[1].0.probe().await;
}

#[tokio::test]
async fn a_node_that_stands_still_gets_no_new_connections_until_it_is_back() {
    let (mut site, _files) = Site::start().await;
    site.nodes[0].process.signal("STOP").await;
    site.haproxy.knows("node1", "DOWN").await;
    site.all_reach(1).await;

    site.nodes[0].process.signal("CONT").await;
    site.haproxy.knows("node1", "UP").await;
    // What it had is still there.
    site.sessions[0].0.probe().await;
    site.haproxy
        .tell("set server nodes/node2 state drain")
        .await;
    site.haproxy.knows("node2", "DRAIN").await;
    site.all_reach(0).await;
}
