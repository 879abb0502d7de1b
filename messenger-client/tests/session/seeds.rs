//! Many worlds, each with another bad network, restarts of the server and crashes of the applications: whatever is sent once is seen
//! once, in order, by every device.
//!
//! `SEEDS=1000` looks at as many (100 otherwise), `SEED=7` at that one.

use crate::world::{LONG, World, until_online};
use messenger_client::proto::SendMessage;
use messenger_client::{Incoming, MemoryStore, Session, SessionEvent, StateStore, async_trait};
use messenger_core::testing::SeededEntropy;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

const MESSAGES: usize = 12;

/// For how long everything goes wrong that can, in virtual time.
const TROUBLE: Duration = Duration::from_secs(10 * 60);

#[test]
fn what_is_sent_once_is_seen_once() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(100),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let ends = runtime.block_on(async { timeout(LONG, one_world(seed)).await });
        ends.unwrap_or_else(|_| panic!("SEED={seed} does not come to an end"));
    }
}

async fn one_world(seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let world = World::new(&["ann", "bob"]);
    let devices: Vec<_> = [("ann", "bob"), ("bob", "ann"), ("bob", "ann")]
        .into_iter()
        .enumerate()
        .map(|(number, (login, peer))| {
            Arc::new(Device {
                name: format!("SEED={seed}, device {number} of {login}"),
                login,
                peer,
                sends: number < 2,
                is_slow: entropy.below(2) == 0,
                world: world.clone(),
                store: MemoryStore::default(),
                disk: Mutex::default(),
                entropy: SeededEntropy::new(entropy.next()),
                changed: Notify::new(),
            })
        })
        .collect();
    for device in &devices {
        device.first_log_in().await;
    }
    world.set_faults(Some(SeededEntropy::new(entropy.next())));
    let trouble = Arc::new(AtomicBool::new(true));
    for device in &devices {
        tokio::spawn(Arc::clone(device).run(Arc::clone(&trouble)));
    }
    trouble_the_server(&world, &entropy).await;
    trouble.store(false, Ordering::Relaxed);
    world.set_faults(None);
    for device in &devices {
        device.all_seen().await;
    }
}

/// Restarts the server, and has its store fail, hang and lose answers.
async fn trouble_the_server(world: &World, entropy: &SeededEntropy) {
    let end = tokio::time::Instant::now() + TROUBLE;
    while tokio::time::Instant::now() < end {
        let a_while = || Duration::from_millis(entropy.below(40_000) as u64);
        sleep(a_while()).await;
        match entropy.below(6) {
            0 | 1 => world.storage().set_failing(true),
            2 => world.storage().set_losing_answers(true),
            _ => world.stop(),
        }
        sleep(a_while()).await;
        world.storage().set_failing(false);
        world.storage().set_losing_answers(false);
        world.stop();
        world.start();
    }
}

/// An application on a device.
struct Device {
    name: String,
    login: &'static str,
    peer: &'static str,
    sends: bool,
    is_slow: bool,
    world: World,
    /// What the session keeps.
    store: MemoryStore,
    /// What the application keeps.
    disk: Mutex<Disk>,
    entropy: SeededEntropy,
    changed: Notify,
}

#[derive(Default)]
struct Disk {
    /// How many messages were given to the session.
    sent: usize,
    /// What was seen: the sequence number, and which message it was.
    seen: Vec<(u64, usize)>,
}

/// A store whose machine can lose its power.
struct Powered {
    store: MemoryStore,
    is_off: Arc<AtomicBool>,
}

#[async_trait]
impl StateStore for Powered {
    async fn load(&mut self) -> std::io::Result<Vec<(String, bytes::Bytes)>> {
        self.store.load().await
    }

    async fn put(&mut self, name: &str, value: bytes::Bytes) -> std::io::Result<()> {
        tokio::task::yield_now().await;
        if self.is_off.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.store.put(name, value).await
    }

    async fn delete(&mut self, name: &str) -> std::io::Result<()> {
        tokio::task::yield_now().await;
        if self.is_off.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.store.delete(name).await
    }
}

impl Device {
    async fn start(&self, is_off: &Arc<AtomicBool>) -> (Session, Incoming) {
        let store = Powered {
            store: self.store.clone(),
            is_off: Arc::clone(is_off),
        };
        let builder = self.world.device(self.login).store(store);
        builder.start().await.unwrap()
    }

    /// Begins the session, so that it is there before anything is sent.
    async fn first_log_in(&self) {
        let (session, _incoming) = self.start(&Arc::default()).await;
        until_online(&session).await;
        session.close().await;
    }

    /// One run after the other, each until it is closed or the power goes.
    async fn run(self: Arc<Self>, trouble: Arc<AtomicBool>) {
        loop {
            let is_off = Arc::new(AtomicBool::new(false));
            let (session, incoming) = self.start(&is_off).await;
            let working = self.work(&session, incoming);
            let longest = Duration::from_millis(self.entropy.below(120_000) as u64);
            let is_last = !trouble.load(Ordering::Relaxed);
            if is_last {
                working.await;
                return;
            }
            // Wherever it is then, it is dropped.
            let _ = timeout(longest, working).await;
            if self.entropy.below(2) == 0 {
                is_off.store(true, Ordering::Relaxed);
            } else {
                session.close().await;
            }
        }
    }

    async fn work(&self, session: &Session, incoming: Incoming) {
        let sending = async {
            while self.sends && self.disk.lock().unwrap().sent < MESSAGES {
                sleep(Duration::from_millis(self.entropy.below(30_000) as u64)).await;
                let number = self.disk.lock().unwrap().sent;
                let message = SendMessage::new(self.peer, number.to_string());
                let sent = session.send_message(message.mid(format!("mid-{number}")));
                let _receipt = sent.await.unwrap();
                self.disk.lock().unwrap().sent += 1;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sending => {}
            () = self.listen(incoming) => {}
        }
    }

    async fn listen(&self, mut incoming: Incoming) {
        let mut is_first = true;
        while let Ok(event) = incoming.next().await {
            let SessionEvent::Message(event) = event else {
                panic!("{}: refused", self.name);
            };
            // Own copies have none.
            let Some(seq) = event.seq else { continue };
            let number = event.message.body.as_str().parse().unwrap();
            let is_again = self.note(seq, number);
            // What it worked on when it ended comes again, and nothing else.
            assert!(is_first || !is_again, "{}: {seq} came again", self.name);
            is_first = false;
            self.changed.notify_one();
            // Others wait meanwhile.
            if self.is_slow {
                sleep(Duration::from_millis(self.entropy.below(60_000) as u64)).await;
            }
        }
    }

    /// Writes down what was seen. True when it is what was seen last.
    fn note(&self, seq: u64, number: usize) -> bool {
        let mut disk = self.disk.lock().unwrap();
        let last = disk.seen.last().copied();
        if last == Some((seq, number)) {
            return true;
        }
        assert!(
            last.is_none_or(|(last, _)| seq > last),
            "{}: {seq} came again",
            self.name
        );
        disk.seen.push((seq, number));
        false
    }

    async fn all_seen(&self) {
        loop {
            let seen: Vec<_> = self
                .disk
                .lock()
                .unwrap()
                .seen
                .iter()
                .map(|seen| seen.1)
                .collect();
            let expected: Vec<_> = (0..MESSAGES).collect();
            assert!(expected.starts_with(&seen), "{}: {seen:?}", self.name);
            if seen == expected {
                return;
            }
            self.changed.notified().await;
        }
    }
}
