//! Inboxes in a file are those of a store in memory, whatever happens to the file meanwhile: messages that have just come
//! and those that stay, batches that fail, starts, kills, and commands beside.
//!
//! `STEPS=5000 SEED=7 cargo test -p messenger-sqlite --test memory` repeats a run, or makes a longer one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use futures_util::future::join_all;
use messenger_core::clock::Timestamp;
use messenger_core::policy::InboxLimits;
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{
    Expiry, Look, MemoryStorage, NewMessage, NewSession, Owner, PageLimits, SessionKey, Storage,
    UserNumber, Watermark,
};
use messenger_core::testing::SeededEntropy;
use messenger_sqlite::SqliteStorage;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const USERS: [&str; 4] = ["ann", "bob", "carol", "dan"];

/// One is among those that stay at once.
const SIZES: [usize; 4] = [1, 60, 900, 5000];

const YEAR: Duration = Duration::from_secs(31_536_000);

/// A message whose insertion fails, and the whole batch with it.
const FAILS: &str = "fails";

struct World {
    random: SeededEntropy,
    folder: TempDir,
    starts: usize,
    path: PathBuf,
    file: SqliteStorage,
    memory: MemoryStorage,
    seconds: u64,
    sent: usize,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.db");
        let world = Self {
            random: SeededEntropy::new(seed),
            starts: 0,
            file: SqliteStorage::open(&path).unwrap(),
            memory: MemoryStorage::new(),
            folder,
            path,
            seconds: 1_000_000_000,
            sent: 0,
        };
        world.have_failures();
        for store in world.both() {
            for user in USERS {
                store
                    .upsert_external_user(&user.into(), user)
                    .await
                    .unwrap();
            }
        }
        world
    }

    fn have_failures(&self) {
        let file = rusqlite::Connection::open(&self.path).unwrap();
        let is_among = format!("instr(new.messages, '\"{FAILS}\"')");
        let is_it = format!("new.nick = '{FAILS}'");
        for (table, fails) in [("arrivals", is_among), ("messages", is_it)] {
            let trigger = format!(
                "CREATE TRIGGER IF NOT EXISTS refuse_{table} BEFORE INSERT ON {table}
                 WHEN {fails} BEGIN SELECT RAISE(ABORT, 'it fails'); END"
            );
            file.execute_batch(&trigger).unwrap();
        }
    }

    fn both(&self) -> [&dyn Storage; 2] {
        [&self.file, &self.memory]
    }

    fn below(&self, end: usize) -> usize {
        usize::try_from(self.random.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn user(&self) -> UserId {
        USERS[self.below(USERS.len())].into()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.seconds * 1_000_000)
    }

    fn message(&mut self) -> NewMessage {
        self.sent += 1;
        let mut body = format!("{} ", self.sent);
        body.push_str(&"x".repeat(SIZES[self.below(SIZES.len())]));
        let sender = ["eve", "frank"][self.below(2)];
        let message = Message::new("", sender, self.user(), self.seconds).body(body);
        let new = NewMessage::new(message, self.now());
        new.limits(match self.below(4) {
            0 => InboxLimits::new(24, 30_000),
            _ => InboxLimits::new(u64::MAX, u64::MAX),
        })
    }

    async fn send(&mut self, count: usize) {
        let messages: Vec<_> = (0..count).map(|_| self.message()).collect();
        let failing = (count > 3 && self.below(2) == 0).then(|| self.below(count));
        let to_file = messages.iter().cloned().enumerate().map(|(n, mut new)| {
            if Some(n) == failing {
                let message = (*new.message).clone().nick(FAILS);
                new.message = message.into();
            }
            self.file.append(new)
        });
        let in_file = join_all(to_file).await;
        for (n, (new, in_file)) in messages.into_iter().zip(in_file).enumerate() {
            if Some(n) == failing {
                in_file.unwrap_err();
                continue;
            }
            let in_memory = self.memory.append(new).await;
            match (in_file, in_memory) {
                (Ok(one), Ok(other)) => assert_eq!(one, other),
                (Err(_), Err(_)) => {}
                (one, other) => panic!("{one:?} {other:?}"),
            }
        }
    }

    async fn number(&self, user: &UserId) -> UserNumber {
        let [one, other] = self.both().map(|store| store.user_number(user));
        let number = one.await.unwrap().unwrap();
        assert_eq!(Some(number), other.await.unwrap());
        number
    }

    async fn deliver(&self) {
        let user = self.user();
        let newest = self.memory.newest(&user).await.unwrap();
        let to = match self.below(2) {
            0 => newest,
            _ => newest.saturating_sub(u64::try_from(self.below(20)).unwrap()),
        };
        let key = self.key();
        let record = self.memory.session(&user, &key).await.unwrap();
        if record.is_some_and(|record| record.delivered_up_to >= to) {
            // A file drops what another session kept when the purge comes, and memory at once.
            return;
        }
        let mark = Watermark::new(user, key, to, self.now());
        for store in self.both() {
            store.advance(vec![mark.clone()]).await.unwrap();
        }
    }

    /// Of one of two sessions of each user.
    fn key(&self) -> SessionKey {
        SessionKey([u8::try_from(self.below(2)).unwrap(); 32])
    }

    async fn open_or_end_session(&self) {
        let (user, key) = (self.user(), self.key());
        let number = self.number(&user).await;
        let is_there = self.memory.session(&user, &key).await.unwrap().is_some();
        for store in self.both() {
            if is_there {
                store.end_session(&user, &key).await.unwrap();
            } else {
                let new = NewSession::new(Owner::new(user.clone(), number), key, self.now());
                store.open_session(new.ack(true)).await.unwrap();
            }
        }
    }

    async fn purge(&self) {
        let old = Duration::from_secs(u64::try_from(30 + self.below(100)).unwrap());
        let expiry = Expiry::at(self.now(), YEAR, old, YEAR);
        for store in self.both() {
            while store.purge_expired(expiry).await.unwrap().is_zero() {}
        }
    }

    async fn delete(&self) {
        let user = self.user();
        for store in self.both() {
            assert!(store.delete_user(&user).await.unwrap());
            store.upsert_external_user(&user, "again").await.unwrap();
        }
    }

    /// As if the server had been stopped, or killed and its disk read by another machine.
    fn start_again(&mut self, is_killed: bool) {
        self.starts += 1;
        let next = self.folder.path().join(format!("{}.db", self.starts));
        if is_killed {
            // Another process copies it: this one's locks would be lost when it closes a file of its own.
            for ending in ["", "-wal"] {
                let name = |path: &PathBuf| format!("{}{ending}", path.display());
                let copied = Command::new("cp")
                    .args([name(&self.path), name(&next)])
                    .status();
                assert!(copied.unwrap().success());
            }
            self.path = next;
        } else {
            // It is closed before it is opened again.
            self.file = SqliteStorage::open(next).unwrap();
        }
        self.file = SqliteStorage::open(&self.path).unwrap();
    }

    /// An operator's command, which a server may outlive or not.
    async fn command(&mut self) {
        let beside = SqliteStorage::open_beside(&self.path).unwrap();
        let server = std::mem::replace(&mut self.file, beside);
        match self.below(3) {
            0 => self.send(5).await,
            1 => self.delete().await,
            _ => {
                self.delete().await;
                self.send(5).await;
            }
        }
        if self.below(2) == 0 {
            // The server is stopped before it has looked.
            drop(server);
            self.compare().await;
            self.start_again(false);
        } else {
            self.file = server;
        }
    }

    async fn compare(&self) {
        for user in USERS.map(UserId::from) {
            let number = self.number(&user).await;
            let look = Look::new(Owner::new(user.clone(), number), None);
            let after = match self.below(2) {
                0 => 0,
                _ => {
                    let newest = self.memory.newest(&user).await.unwrap();
                    newest.saturating_sub(u64::try_from(self.below(20)).unwrap())
                }
            };
            let page = match self.below(3) {
                0 => PageLimits::new(1_000_000, usize::MAX),
                1 => PageLimits::new(1 + self.below(30), usize::MAX),
                _ => PageLimits::new(1_000_000, 1 + self.below(9000)),
            };
            let mut seen = Vec::new();
            for store in self.both() {
                let inbox = store.inbox(&user, after, page).await.unwrap();
                let for_one = store.inbox_for(&look, after, page).await.unwrap();
                assert_eq!(for_one.as_ref(), Some(&inbox));
                let newest = store.newest(&user).await.unwrap();
                let looked = store.look(vec![look.clone()]).await.unwrap();
                seen.push((inbox, newest, looked));
            }
            let seqs = seen.iter().map(|(inbox, newest, _)| {
                let seqs: Vec<_> = inbox.iter().map(|(seq, _)| *seq).collect();
                (seqs, *newest)
            });
            let seqs: Vec<_> = seqs.collect();
            assert_eq!(seqs[0], seqs[1], "{user}");
            assert!(seen[0] == seen[1], "{user}: {seqs:?}");
        }
    }
}

fn number_of(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn inboxes_are_those_of_a_store_in_memory() {
    let mut world = World::new(number_of("SEED", 1)).await;
    for step in 0..number_of("STEPS", 300) {
        let what = world.below(100);
        // Told when it fails.
        println!("{step}: {what}");
        match what {
            0..35 => world.send(1).await,
            35..50 => {
                let count = 2 + world.below(40);
                world.send(count).await;
            }
            50..70 => world.deliver().await,
            70..80 => world.open_or_end_session().await,
            80..85 => world.purge().await,
            85..89 => world.delete().await,
            89..93 => world.start_again(false),
            93..96 => world.start_again(true),
            _ => world.command().await,
        }
        world.seconds += 1;
        world.compare().await;
    }
}
