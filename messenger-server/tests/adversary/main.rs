//! Attacks, one after the other, on a server of its own process, while 100 honest clients keep
//! exchanging messages: none of theirs is lost, they hardly wait longer than without the attack, and
//! the server's memory stays within what its settings allow.
//!
//! `cargo test --release -p messenger-server --test adversary -- --nocapture` prints a line for each
//! attack; `ATTACK=silence` runs that one alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod honest;

use attacks::Attack;
use honest::Honest;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;
use support::SOON;
use support::process::Process;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

const MIB: u64 = 1024 * 1024;

/// What the server is told its clients' partial frames may take together.
const HALF_READ: u64 = 64 * MIB;

/// What it is told may wait unsent for one client.
const OUTGOING: u64 = MIB;

/// What it is told may wait unsent for all of them together; a list may have 64 MiB.
const OUTGOING_TOTAL: u64 = 96 * MIB;

/// What it is told about messages in memory.
const MESSAGES: u64 = 128 * MIB;

/// What it is told about the longest frame.
const FRAME: u64 = 16 * MIB;

/// How long honest clients talk with and without an attack.
const QUIET: Duration = Duration::from_secs(2);
const ATTACKED: Duration = Duration::from_secs(4);

/// What honest clients wait may grow by so much.
const TIMES: u32 = 5;

/// Others use the machine too, for moments; an attack that harms does so each time it is looked at.
const LOOKS: usize = 3;

/// A wait that is shorter says nothing: attackers, clients and server share all processors, and kernels
/// that do not preempt look only so often whether a thread that woke up may run. An unoptimised server
/// makes attackers' work its own.
const RESOLUTION: Duration = if cfg!(debug_assertions) {
    Duration::from_millis(2)
} else {
    Duration::from_micros(300)
};

/// What a connection may hold besides what waits unsent: a reply that passes that mark, requests under
/// way, its task.
const A_CONNECTION: u64 = 64 * 1024;

/// What the server takes for itself: code, threads' stacks and buffers, two passwords being hashed,
/// what the allocator keeps at hand.
const ITSELF: u64 = 128 * MIB;

/// What an attacker says when its attack has begun.
const UNDER_WAY: &str = "under way";

type Running = Pin<Box<dyn Future<Output = JoinSet<()>> + Send>>;

/// An attack: its name, how many connections it holds, and how it begins.
struct Plan {
    name: &'static str,
    connections: u64,
    begin: fn(Attack) -> Running,
}

macro_rules! plans {
    ($($name:ident $connections:literal,)*) => {
        [$(Plan {
            name: stringify!($name),
            connections: $connections,
            begin: |attack| Box::pin(attacks::$name(attack)),
        }),*]
    };
}

const PLANS: [Plan; 16] = plans![
    byte_by_byte 500,
    silence 10_000,
    never_reading 50,
    frames_at_the_limit 4,
    deep_nesting 4,
    endless_strings 4,
    tiny_frames 4,
    reconnecting 64,
    tls_garbage 64,
    half_open 500,
    wrong_passwords 20,
    registrations 20,
    imports 10,
    half_sent_frames 60,
    unread_lists 21,
    large_messages 20,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_clients_are_not_harmed() {
    rlimit::increase_nofile_limit(20_000).unwrap();
    if let Ok(address) = std::env::var("ATTACKED") {
        return attack(address).await;
    }
    let chosen = std::env::var("ATTACK").ok();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let tls = server.address_behind("listening for TLS").await;
    let mut honest = Honest::new(&server.address).await;
    for plan in PLANS {
        if chosen.as_deref().is_some_and(|chosen| chosen != plan.name) {
            continue;
        }
        let mut looks = 0;
        while !is_harmless(&plan, &server, &tls, &mut honest).await {
            looks += 1;
            assert!(looks < LOOKS, "{} makes others wait", plan.name);
        }
    }
    // Alive and well after all of it.
    Honest::new(&server.address).await.talk(QUIET).await;
    server.signal("TERM").await;
    assert_eq!(server.ended().await, Some(0));
}

/// Whether honest clients hardly wait longer during an attack than just before. Memory keeps within its bound always.
async fn is_harmless(plan: &Plan, server: &Process, tls: &str, honest: &mut Honest) -> bool {
    let quiet = honest.talk(QUIET).await;
    let mut attacker = Attacker::start(plan, &server.address, tls).await;
    let attacked = honest.talk(ATTACKED).await;
    let resident = server.resident();
    attacker.stop().await;
    // Until the server has got over their end.
    honest.talk(QUIET / 4).await;
    let shared = HALF_READ + OUTGOING_TOTAL + MESSAGES;
    let bound = ITSELF + shared + (plan.connections + 100) * (A_CONNECTION + OUTGOING);
    let resident_mib = resident / MIB;
    eprintln!(
        "{:20} p99 {quiet:?} quiet, {attacked:?} attacked; {resident_mib} MiB",
        plan.name
    );
    assert!(resident <= bound, "{}: {resident_mib} MiB", plan.name);
    attacked <= quiet.max(RESOLUTION) * TIMES
}

/// What an attacker's process does, until it is killed: the test begins again in it, and comes here.
async fn attack(address: String) {
    let told = |name| std::env::var(name).expect("told with the address");
    let name = told("ATTACK");
    let plan = PLANS.into_iter().find(|plan| plan.name == name).unwrap();
    let attack = Attack {
        address,
        tls: told("ATTACKED_TLS"),
        name: plan.name,
    };
    let mut attackers = (plan.begin)(attack).await;
    println!("{UNDER_WAY}");
    while let Some(ended) = attackers.join_next().await {
        ended.unwrap();
    }
    std::future::pending::<()>().await;
}

/// An attacker's process: attackers and honest clients are not one program, in which one would wait for the
/// other.
struct Attacker(Child);

impl Attacker {
    async fn start(plan: &Plan, address: &str, tls: &str) -> Self {
        let mut attacker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "honest_clients_are_not_harmed", "--nocapture"])
            .env("ATTACK", plan.name)
            .env("ATTACKED", address)
            .env("ATTACKED_TLS", tls)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(attacker.stdout.take().unwrap()).lines();
        let under_way = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.ends_with(UNDER_WAY) {
                    return;
                }
            }
            panic!("the attacker ended");
        };
        timeout(SOON, under_way).await.unwrap();
        Self(attacker)
    }

    async fn stop(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "the attacker ended");
        self.0.kill().await.unwrap();
    }
}

async fn start(folder: &Path) -> Process {
    let made = generate_simple_self_signed(["localhost".to_owned()]);
    let CertifiedKey { cert, signing_key } = made.unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(["--tls-listen", "127.0.0.1:0"])
        .arg("--tls-cert")
        .arg(certificate)
        .arg("--tls-key")
        .arg(key)
        .args(["--max-partial-frames", &HALF_READ.to_string()])
        .args(["--max-outgoing", &OUTGOING.to_string()])
        .args(["--max-outgoing-total", &OUTGOING_TOTAL.to_string()])
        .args(["--max-memory", &MESSAGES.to_string()])
        .args(["--max-frame", &FRAME.to_string()])
        .args(["--max-failed-auth", "1000000"]);
    Process::spawn_limited(command).await
}
