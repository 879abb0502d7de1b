//! A PostgreSQL of a test's own.

#![allow(dead_code)] // not every test needs all of it

pub(crate) mod proxy;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// How long anything may take: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running server in a folder of its own, which is reached by a socket there. It is killed when this is dropped.
pub(crate) struct Postgres {
    folder: TempDir,
    server: Child,
    databases: AtomicUsize,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings such as `fsync=off`.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path());
        let data = folder.path().join("data");
        let made = command("initdb")
            .args([
                "--username=messenger",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb");
        let settings = settings.iter().map(|setting| format!("{setting}\n"));
        let settings = "listen_addresses=''\nmax_connections=100\nshared_buffers=32MB\n".to_owned()
            + &settings.collect::<String>();
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, settings).unwrap();
        let server = serve(&folder);
        let postgres = Self {
            folder,
            server,
            databases: AtomicUsize::new(0),
        };
        postgres.client("postgres").await;
        postgres
    }

    pub(crate) fn restart(&mut self) {
        self.server = serve(&self.folder);
    }

    /// Kills the server and all its processes, as a power cut would.
    pub(crate) fn kill(&mut self) {
        let pid = self.server.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let mut pids = vec![pid.to_string()];
        pids.extend(
            children
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned),
        );
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

    /// The address of a new and empty database.
    pub(crate) async fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("messenger{number}");
        let client = self.client("postgres").await;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        self.url(&name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://messenger@{folder}/{database}")
    }

    /// The socket at which it is reached.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// A connection of the test's own, as soon as the server lets it in.
    pub(crate) async fn client(&self, database: &str) -> Client {
        let begun = Instant::now();
        loop {
            match tokio_postgres::connect(&self.url(database), NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(begun.elapsed() < DEADLINE, "no server: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
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
fn command(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
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
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
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

fn chown(folder: &std::path::Path) {
    if let Some((uid, gid)) = other_user() {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid)).unwrap();
    }
}
