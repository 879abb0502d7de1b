//! A PostgreSQL of a test's own.

use crate::DEADLINE;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The port of a server that is reached by its socket alone. (The socket is called by it.)
const USUAL_PORT: u16 = 5432;

/// How often a port is looked for that nobody takes before the server does.
const ATTEMPTS: usize = 10;

/// A running server in a folder of its own, which is reached by a socket there. It is killed when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    server: Child,
    databases: AtomicUsize,
}

impl Postgres {
    /// Starts one, as `messenger` may do everything there without a password.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings such as `fsync=off`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = begun();
        configure(&folder, settings);
        let server = serve(&folder);
        let mut postgres = Self::new(folder, USUAL_PORT, server);
        assert!(postgres.is_up().await, "the server ended");
        postgres
    }

    /// One that is also reached at a [port](Self::port) of 127.0.0.1, with TLS: its certificate and key as PEM.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        for _ in 0..ATTEMPTS {
            let folder = begun();
            let data = folder.path().join("data");
            for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
                let path = data.join(name);
                std::fs::write(&path, pem).unwrap();
                std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                chown(&path);
            }
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let port_setting = format!("port={port}");
            configure(
                &folder,
                &["ssl=on", "listen_addresses='127.0.0.1'", &port_setting],
            );
            let server = serve(&folder);
            let mut postgres = Self::new(folder, port, server);
            if postgres.is_up().await {
                return postgres;
            }
        }
        panic!("the server ended");
    }

    fn new(folder: TempDir, port: u16, server: Child) -> Self {
        Self {
            folder,
            port,
            server,
            databases: AtomicUsize::new(0),
        }
    }

    /// Waits until it lets somebody in; false when it ends instead.
    async fn is_up(&mut self) -> bool {
        let begun = Instant::now();
        while self.server.try_wait().unwrap().is_none() {
            if self.connect("postgres").await.is_ok() {
                return true;
            }
            assert!(begun.elapsed() < DEADLINE, "the server lets nobody in");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// The port at which it is reached with TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.server = serve(&self.folder);
    }

    /// Kills the server and all its processes, as a power cut would.
    pub fn kill(&mut self) {
        self.signal("STOP");
        // Once it stands still it starts no more of them.
        let begun = Instant::now();
        while !self.stands_still() && begun.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        let pids = self.processes();
        let _ = Command::new("kill")
            .arg("-KILL")
            .args(&pids)
            .stderr(Stdio::null())
            .status();
        let _ = self.server.wait();
        // The next server must not find any of them alive. Dead ones have no command line.
        let begun = Instant::now();
        let is_alive = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
        };
        while pids.iter().any(is_alive) && begun.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Keeps a copy of its files as they are now; it must not be running.
    pub fn save(&self) {
        self.copy("data", "saved");
    }

    /// Puts the copy in the place of its files; it must not be running.
    pub fn put_back(&self) {
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.copy("saved", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp")
            .arg("-a")
            .args([from, to].map(|name| self.folder.path().join(name)))
            .status();
        assert!(status.unwrap().success(), "cp");
    }

    /// The address of a new and empty database.
    pub async fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("messenger{number}");
        let client = self.client("postgres").await;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        self.url(&name)
    }

    /// The address of this database.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://messenger@{folder}:{}/{database}", self.port)
    }

    /// The socket at which it is reached.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{}", self.port))
    }

    /// A connection of the test's own, as soon as the server lets it in.
    pub async fn client(&self, database: &str) -> Client {
        let begun = Instant::now();
        loop {
            match self.connect(database).await {
                Ok(client) => return client,
                Err(error) => assert!(begun.elapsed() < DEADLINE, "no server: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal])
            .args(self.processes())
            .stderr(Stdio::null())
            .status();
        status.unwrap();
    }

    /// Whether the server's process is stopped, or has ended.
    fn stands_still(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.server.id()));
        let state = state.unwrap_or_default();
        // Behind its name, which is in parentheses.
        state
            .rsplit_once(") ")
            .is_none_or(|(_, state)| state.starts_with(['T', 'Z', 'X']))
    }

    /// The server's process and those of its connections.
    fn processes(&self) -> Vec<String> {
        let pid = self.server.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let mut pids = vec![pid.to_string()];
        pids.extend(children.split_whitespace().map(str::to_owned));
        pids
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder with the files of a new server.
fn begun() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path());
    let made = command("initdb")
        .args([
            "--username=messenger",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success(), "initdb");
    folder
}

fn configure(folder: &TempDir, settings: &[&str]) {
    let usual = [
        "listen_addresses=''",
        "max_connections=100",
        "shared_buffers=32MB",
    ];
    let lines: Vec<_> = usual.iter().chain(settings).copied().collect();
    let file = folder.path().join("data/postgresql.auto.conf");
    std::fs::write(file, lines.join("\n") + "\n").unwrap();
}

fn serve(folder: &TempDir) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"));
    command("postgres")
        .arg("-D")
        .arg(folder.path().join("data"))
        .arg("-k")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

/// One of PostgreSQL's programs, as a user it accepts: it refuses root.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir("/");
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// A program that refuses root as well, which may write to this folder.
pub(crate) fn as_other_user(program: &str, folder: &Path) -> Command {
    chown(folder);
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// The folder of the newest PostgreSQL's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.expect("PostgreSQL is needed: apt-get install postgresql");
    let newest = versions.map(|version| version.unwrap().path()).max();
    newest.expect("a version of PostgreSQL").join("bin")
}

/// The user `postgres`, if this is root.
fn other_user() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").unwrap();
    if own.uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let postgres = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = postgres.expect("the user postgres").split(':').skip(1);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

/// Gives a file to the user as whom PostgreSQL's programs run.
pub fn chown(path: &Path) {
    if let Some((uid, gid)) = other_user() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}
