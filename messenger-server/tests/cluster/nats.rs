//! Three NATS servers, each pair with a way between them that can be cut.

use super::folder::Folder;
use super::patience::DEADLINE;
use super::process::Process;
use super::proxy::{Address, Proxy, Target, Way};
use futures_util::future::join_all;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub(crate) const SERVERS: usize = 3;

/// One of them.
pub(crate) struct Server {
    name: String,
    data: PathBuf,
    folder: Arc<Folder>,
    process: Mutex<Option<Process>>,
    /// Where nodes come in.
    pub(crate) target: Target,
    /// Where the others come in.
    cluster: Target,
    /// Its ways to those before it, whom it calls.
    routes: Vec<Proxy>,
}

impl Server {
    pub(crate) async fn start(&self) {
        let process = Process::start(
            Command::new("nats-server")
                .arg("--config")
                .arg(self.data.join("config"))
                .stdout(Stdio::null())
                .stderr(self.folder.log(&self.name)),
        );
        let ports = self
            .data
            .join(format!("nats-server_{}.ports", process.id()));
        *self.process.lock().unwrap() = Some(process);
        let (client, cluster) = ports_in(&ports).await;
        let address = |port: u16| Address::Tcp(([127, 0, 0, 1], port).into());
        self.target.set(Some(address(client)));
        self.cluster.set(Some(address(cluster)));
    }

    pub(crate) fn kill(&self) {
        self.target.set(None);
        self.cluster.set(None);
        if let Some(process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    pub(crate) fn freeze(&self) {
        self.process.lock().unwrap().as_ref().unwrap().freeze();
    }

    pub(crate) fn thaw(&self) {
        self.process.lock().unwrap().as_ref().unwrap().thaw();
    }

    /// Nobody learns of servers beside those it was told of, because each is behind a proxy.
    fn configure(&self) {
        let routes = self.routes.iter().map(|proxy| proxy.port);
        let routes: Vec<_> = routes
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let config = format!(
            "server_name: {}
listen: \"127.0.0.1:-1\"
ports_file_dir: {:?}
cluster {{
    name: cluster
    listen: \"127.0.0.1:-1\"
    advertise: \"127.0.0.1:1\"
    no_advertise: true
    routes: {routes:?}
}}
",
            self.name, self.data
        );
        fs::write(self.data.join("config"), config).unwrap();
    }
}

/// All three.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(folder: &Arc<Folder>) -> Self {
        let mut servers: Vec<Server> = Vec::new();
        for number in 0..SERVERS {
            let name = format!("nats{number}");
            let mut routes = Vec::new();
            for before in &servers {
                routes.push(Proxy::before(&before.cluster).await);
            }
            let server = Server {
                data: folder.data(&name),
                name,
                folder: Arc::clone(folder),
                process: Mutex::default(),
                target: Target::default(),
                cluster: Target::default(),
                routes,
            };
            server.configure();
            servers.push(server);
        }
        join_all(servers.iter().map(Server::start)).await;
        Self { servers }
    }

    /// Makes the ways between this one and the others like this.
    pub(crate) fn set_routes(&self, number: usize, way: Way) {
        for (caller, server) in self.servers.iter().enumerate() {
            for (called, route) in server.routes.iter().enumerate() {
                if caller == number || called == number {
                    route.set(way);
                }
            }
        }
    }
}

/// The ports in the file that the server writes once it listens: `{"nats":["nats://127.0.0.1:4222"],"cluster":[…]}`.
async fn ports_in(path: &Path) -> (u16, u16) {
    let begun = Instant::now();
    loop {
        let text = fs::read(path).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<serde_json::Value>(&text) {
            let port = |name: &str| {
                let url = ports[name][0].as_str().unwrap();
                url.rsplit_once(':').unwrap().1.parse().unwrap()
            };
            return (port("nats"), port("cluster"));
        }
        assert!(begun.elapsed() < DEADLINE, "nats-server does not listen");
        sleep(Duration::from_millis(20)).await;
    }
}
