//! A node: a process of the server's binary, with ways of its own to the database, to NATS and from clients.

use super::folder::Folder;
use super::nats;
use super::patience::{DEADLINE, Patience};
use super::postgres::{self, Pair};
use super::process::Process;
use super::proxy::{Address, Proxy, Target, Way};
use messenger_client::proto::{Password, SessionId, UserId};
use messenger_client::{Client, ClientError, Events, connect};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub(crate) struct Node {
    pub(crate) name: String,
    folder: Arc<Folder>,
    /// How often it was started.
    starts: AtomicUsize,
    process: Mutex<Option<Process>>,
    stood_still: Mutex<StoodStill>,
    /// Where it listens.
    target: Target,
    /// From clients.
    pub(crate) clients: Proxy,
    /// To the two database servers.
    pub(crate) postgres: Vec<Proxy>,
    /// To the NATS servers.
    pub(crate) nats: Vec<Proxy>,
    pub(crate) patience: Arc<Patience>,
}

/// How long it is waited before a node that has ended is started again.
const AGAIN: Duration = Duration::from_millis(500);

/// When it was frozen.
enum StoodStill {
    Never,
    Now,
    Until(Instant),
}

/// A connection of a client.
pub(crate) struct Line {
    pub(crate) node: Arc<Node>,
    pub(crate) client: Client,
    pub(crate) events: Events,
}

/// With which a client resumes.
pub(crate) type Session = (UserId, SessionId);

pub(crate) fn pass() -> Password {
    Password::md5_of("secret")
}

impl Node {
    pub(crate) async fn new(
        number: usize,
        folder: &Arc<Folder>,
        postgres: &Pair,
        nats: &nats::Cluster,
        patience: &Arc<Patience>,
    ) -> Self {
        let target = Target::default();
        let mut to_postgres = Vec::new();
        for server in &postgres.servers {
            to_postgres.push(Proxy::before(&server.target).await);
        }
        let mut to_nats = Vec::new();
        for server in &nats.servers {
            to_nats.push(Proxy::before(&server.target).await);
        }
        Self {
            name: format!("node{number}"),
            folder: Arc::clone(folder),
            starts: AtomicUsize::new(0),
            process: Mutex::default(),
            stood_still: Mutex::new(StoodStill::Never),
            clients: Proxy::before(&target).await,
            target,
            postgres: to_postgres,
            nats: to_nats,
            patience: Arc::clone(patience),
        }
    }

    /// Starts the binary with these settings, and waits until it listens. One that ends because it does not reach the
    /// database is started again, as a service manager does.
    pub(crate) async fn start(&self, binary: &Binary, settings: &[&str]) {
        let (store, notifier) = (self.store(), self.notifier());
        let arguments = ["--store", &store, "--notifier", &notifier];
        let arguments = [&arguments[..], settings].concat();
        let begun = Instant::now();
        let (process, address) = loop {
            let number = self.starts.fetch_add(1, Ordering::Relaxed);
            let log = format!("{}-{number}", self.name);
            match binary.start(&arguments, &self.folder, &log).await {
                Ok(started) => break started,
                Err(said) => assert!(
                    said.contains("PostgreSQL database") && begun.elapsed() < DEADLINE,
                    "{} ended: {said}",
                    self.name
                ),
            }
            sleep(AGAIN).await;
        };
        *self.process.lock().unwrap() = Some(process);
        self.target.set(Some(Address::Tcp(address)));
    }

    fn store(&self) -> String {
        let hosts = self.postgres.iter();
        let hosts: Vec<_> = hosts
            .map(|proxy| format!("127.0.0.1:{}", proxy.port))
            .collect();
        let (name, hosts) = (postgres::NAME, hosts.join(","));
        format!("postgres://{name}@{hosts}/{name}")
    }

    fn notifier(&self) -> String {
        let hosts = self.nats.iter();
        let hosts: Vec<_> = hosts
            .map(|proxy| format!("127.0.0.1:{}", proxy.port))
            .collect();
        format!("nats://{}", hosts.join(","))
    }

    pub(crate) fn kill(&self) {
        self.target.set(None);
        if let Some(process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    /// Tells it to stop, and waits until it has, in good order.
    pub(crate) async fn stop(&self) {
        let Some(mut process) = self.process.lock().unwrap().take() else {
            return;
        };
        // Its listener closes now: who comes is turned away at once.
        process.terminate();
        let status = process.ended().await;
        self.target.set(None);
        assert!(
            status.success(),
            "{} did not stop well: {status}",
            self.name
        );
    }

    pub(crate) fn freeze(&self) {
        *self.stood_still.lock().unwrap() = StoodStill::Now;
        self.process.lock().unwrap().as_ref().unwrap().freeze();
    }

    pub(crate) fn thaw(&self) {
        self.process.lock().unwrap().as_ref().unwrap().thaw();
        *self.stood_still.lock().unwrap() = StoodStill::Until(Instant::now());
    }

    /// A request that began then may have waited for that.
    pub(crate) fn stood_still_since(&self, begun: Instant) -> bool {
        match *self.stood_still.lock().unwrap() {
            StoodStill::Never => false,
            StoodStill::Now => true,
            StoodStill::Until(moment) => moment > begun,
        }
    }

    pub(crate) fn cut_from_postgres(&self, way: Way) {
        self.postgres.iter().for_each(|proxy| proxy.set(way));
    }

    pub(crate) fn cut_from_nats(&self, way: Way) {
        self.nats.iter().for_each(|proxy| proxy.set(way));
    }

    /// A connection, if it takes one.
    pub(crate) async fn connect(self: &Arc<Self>) -> Option<Line> {
        let connecting = connect(("127.0.0.1", self.clients.port));
        let connected = self.patience.answer(self, "a welcome", connecting).await;
        let (client, events) = connected?.ok()?;
        Some(Line {
            node: Arc::clone(self),
            client,
            events,
        })
    }
}

impl Line {
    /// Asks for something. What a node that stands still does not answer is as good as a connection that has ended.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let answer = self.node.patience.answer(&self.node, what, answer).await;
        answer.unwrap_or(Err(ClientError::Closed))
    }

    /// Goes on with a session, of which this much was processed. False when it cannot just now.
    pub(crate) async fn resume(&mut self, (cid, sid): &Session, seen: u64) -> bool {
        self.events.skip_up_to(seen);
        let resuming = self.client.resume_and_ack(cid, sid, seen);
        is_done(self.ask("a resume", resuming).await).is_some()
    }

    /// Registers unless that was done, and begins a session.
    pub(crate) async fn log_in(&self, login: &str, acks: bool) -> Session {
        match self.client.register(login, &pass(), login).await {
            Ok(()) => {}
            Err(ClientError::Refused(failure)) if failure.code.number() == 1 => {}
            Err(error) => panic!("{login} cannot register: {error}"),
        }
        let accepted = match acks {
            true => self.client.auth_with_ack(login, &pass()).await,
            false => self.client.auth(login, &pass()).await,
        };
        let accepted = accepted.expect("the password is right");
        (accepted.uid, accepted.sid)
    }
}

/// What a request has brought; `None` when it may be made again: it was answered with 22, or not at all.
pub(crate) fn is_done<T>(result: Result<T, ClientError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(ClientError::Refused(failure)) if failure.code.number() == 22 => None,
        Err(ClientError::Closed) => None,
        Err(error) => panic!("refused: {error}"),
    }
}

/// What a node is a process of.
#[derive(Clone)]
pub(crate) struct Binary {
    path: PathBuf,
    /// What its clock shows.
    is_an_hour_ahead: bool,
}

impl Binary {
    pub(crate) fn of_today() -> Self {
        Self {
            path: env!("CARGO_BIN_EXE_messenger-server").into(),
            is_an_hour_ahead: false,
        }
    }

    /// An earlier version, if the environment names one.
    pub(crate) fn of_yesterday() -> Option<Self> {
        let path = std::env::var_os("CLUSTER_OLD_BINARY")?.into();
        Some(Self {
            path,
            is_an_hour_ahead: false,
        })
    }

    pub(crate) fn an_hour_ahead(mut self) -> Self {
        self.is_an_hour_ahead = true;
        self
    }

    /// Starts a server, and waits until it listens, and where. What it has said when it ends instead.
    pub(crate) async fn start(
        &self,
        arguments: &[&str],
        folder: &Folder,
        log: &str,
    ) -> Result<(Process, SocketAddr), String> {
        let mut command = Command::new(&self.path);
        if self.is_an_hour_ahead {
            command.env("LD_PRELOAD", faketime()).env("FAKETIME", "+1h");
        }
        let command = command
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "off"])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(folder.log(log));
        let mut process = Process::start(command);
        let begun = Instant::now();
        loop {
            let is_running = process.is_running();
            let text = folder.read_log(log);
            let lines = text.lines().filter(|line| line.contains("listening"));
            let mut addresses = lines.filter_map(|line| line.split_once("address="));
            if let Some((_, address)) = addresses.next() {
                return Ok((process, address.trim().parse().unwrap()));
            }
            if !is_running {
                return Err(text);
            }
            assert!(begun.elapsed() < DEADLINE, "{log} does not listen");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The library that shifts a process's clock, where Debian has it.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let libraries = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"));
    let mut libraries = libraries.filter(|library| library.exists());
    libraries
        .next()
        .expect("faketime is needed: apt-get install faketime")
}
