//! Two PostgreSQL servers: a primary, and a standby without which it commits nothing.

use super::folder::Folder;
use super::patience::DEADLINE;
use super::process::Process;
use super::proxy::{Address, Target};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testing_servers::{give_to_postgres, postgres_program};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

/// The user and the database of the nodes.
pub(crate) const NAME: &str = "messenger";

const SETTINGS: &str = "listen_addresses = ''
max_connections = 100
shared_buffers = 32MB
min_wal_size = 32MB
max_wal_size = 256MB
wal_retrieve_retry_interval = 200ms
";

/// One of the two.
pub(crate) struct Server {
    name: String,
    data: PathBuf,
    folder: Arc<Folder>,
    process: Mutex<Option<Process>>,
    pub(crate) target: Target,
}

impl Server {
    fn new(number: usize, folder: &Arc<Folder>) -> Self {
        let name = format!("postgres{number}");
        let data = folder.data(&name);
        let target = Target::default();
        target.set(Some(Address::Unix(data.join(".s.PGSQL.5432"))));
        give_to_postgres(&data);
        Self {
            data,
            name,
            folder: Arc::clone(folder),
            process: Mutex::default(),
            target,
        }
    }

    pub(crate) fn start(&self) {
        let process = Process::start(
            postgres_program("postgres")
                .arg("-D")
                .arg(self.data.join("base"))
                .arg("-k")
                .arg(&self.data)
                .stdout(Stdio::null())
                .stderr(self.folder.log(&self.name)),
        );
        *self.process.lock().unwrap() = Some(process);
    }

    pub(crate) fn kill(&self) {
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

    /// A connection of the test's own, as soon as the server lets it in.
    pub(crate) async fn client(&self, database: &str) -> Client {
        let folder = self.data.to_str().unwrap().replace('/', "%2F");
        let url = format!("postgres://{NAME}@{folder}/{database}");
        let begun = Instant::now();
        loop {
            match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(begun.elapsed() < DEADLINE, "no {}: {error}", self.name),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(&self, sql: &str) {
        let client = self.client("postgres").await;
        client.batch_execute(sql).await.unwrap();
    }

    async fn initialise(&self) {
        let mut initdb = postgres_program("initdb");
        initdb
            .args(["--username", NAME, "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync"])
            .arg(self.data.join("base"));
        run(initdb).await;
        fs::write(self.data.join("base/postgresql.auto.conf"), SETTINGS).unwrap();
    }

    /// Makes it a standby of the other, whatever it was before.
    async fn copy(&self, primary: &Self) {
        let _ = fs::remove_dir_all(self.data.join("base"));
        let mut copy = postgres_program("pg_basebackup");
        copy.args(["--username", NAME, "--checkpoint=fast", "--no-sync"])
            .args(["--write-recovery-conf", "--wal-method=stream"])
            .arg("--host")
            .arg(&primary.data)
            .arg("--pgdata")
            .arg(self.data.join("base"));
        run(copy).await;
    }
}

/// Both.
pub(crate) struct Pair {
    pub(crate) servers: [Server; 2],
    primary: AtomicUsize,
}

impl Pair {
    pub(crate) async fn start(folder: &Arc<Folder>) -> Self {
        give_to_postgres(folder.path());
        let pair = Self {
            servers: [0, 1].map(|number| Server::new(number, folder)),
            primary: AtomicUsize::new(0),
        };
        let primary = pair.primary();
        primary.initialise().await;
        primary.start();
        primary.run(&format!("CREATE DATABASE {NAME}")).await;
        pair.attach().await;
        pair
    }

    pub(crate) fn primary(&self) -> &Server {
        &self.servers[self.primary.load(Ordering::Relaxed)]
    }

    pub(crate) fn standby(&self) -> &Server {
        &self.servers[1 - self.primary.load(Ordering::Relaxed)]
    }

    /// The standby becomes the primary, and commits alone for now. The old one must be dead.
    pub(crate) async fn promote(&self) {
        let standby = self.standby();
        standby
            .run("ALTER SYSTEM SET synchronous_standby_names = ''")
            .await;
        standby.run("SELECT pg_reload_conf(), pg_promote()").await;
        self.primary.fetch_xor(1, Ordering::Relaxed);
    }

    /// Makes the one that is no primary its standby, and from then on nothing is committed without it.
    pub(crate) async fn attach(&self) {
        let (primary, standby) = (self.primary(), self.standby());
        standby.copy(primary).await;
        standby.start();
        let client = primary.client("postgres").await;
        let streams = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'";
        let begun = Instant::now();
        while client.query(streams, &[]).await.unwrap().is_empty() {
            assert!(begun.elapsed() < DEADLINE, "the standby does not follow");
            sleep(Duration::from_millis(50)).await;
        }
        primary
            .run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        primary.run("SELECT pg_reload_conf()").await;
    }
}

async fn run(mut command: Command) {
    let ran = spawn_blocking(move || (command.output().unwrap(), command)).await;
    let (output, command) = ran.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
