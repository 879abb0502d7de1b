//! A machine's clock that jumps, and what the engine makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::clock::{Clock, Timestamp};
use messenger_core::proto::{
    Ack, Auth, Credentials, ErrorCode, Failure, Inbound, Register, SendMessage, SessionId,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::ManualClock;
use messenger_core::{Connection, Engine, Policy};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a clock is wrong.
const FAR: Duration = Duration::from_secs(400 * 24 * 60 * 60);

struct World {
    clock: ManualClock,
    storage: Arc<MemoryStorage>,
    engine: Engine,
}

impl World {
    async fn new() -> Self {
        let (clock, storage) = (ManualClock::default(), Arc::new(MemoryStorage::new()));
        let engine = start(&clock, &storage);
        for login in ["ann", "bob"] {
            let register = Register::new(login, "secret", login);
            engine.connect().call(register).await.unwrap();
        }
        Self {
            clock,
            storage,
            engine,
        }
    }

    /// The server starts again.
    fn restart(&mut self) {
        self.engine = start(&self.clock, &self.storage);
    }

    /// Time goes by, and the engine does in the background what it has to.
    async fn pass(&self, time: Duration) {
        self.engine.run_maintenance().await.unwrap();
        for _ in 0..4 {
            self.clock.advance(time / 4);
            self.engine.run_maintenance().await.unwrap();
        }
    }

    /// The machine's clock jumps.
    fn jump(&self, ahead: bool) {
        let now = self.clock.now();
        let jumped = if ahead {
            now.after(FAR)
        } else {
            now.before(FAR)
        };
        self.clock.set(jumped);
    }

    async fn log_in(&self, login: &str) -> (Connection, SessionId) {
        let connection = self.engine.connect();
        let accepted = connection.call(Auth::new(login, "secret")).await.unwrap();
        (connection, accepted.sid)
    }

    async fn resume(&self, login: &str, sid: &SessionId) -> Result<Connection, Failure> {
        let connection = self.engine.connect();
        let resume = Inbound::new(Ack::new(0)).credentials(Credentials::new(login, sid.clone()));
        match connection.handle(resume).await.response.failure() {
            Some(failure) => Err(failure.clone()),
            None => Ok(connection),
        }
    }

    /// When ann's sessions were used, the latest first.
    async fn used(&self) -> Vec<Timestamp> {
        let sessions = self.engine.sessions(&"ann".into()).await.unwrap();
        let sessions = sessions.unwrap().into_iter();
        sessions.map(|(_, record)| record.used).collect()
    }
}

fn start(clock: &ManualClock, storage: &Arc<MemoryStorage>) -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    Engine::builder()
        .policy(policy)
        .clock(Arc::new(clock.clone()))
        .storage(Arc::<MemoryStorage>::clone(storage))
        .manual_maintenance()
        .build()
        .unwrap()
}

async fn send(from: &Connection, body: &str) -> String {
    let message = SendMessage::new("bob", body.to_owned()).mid("the mid");
    from.call(message).await.unwrap().id.as_str().to_owned()
}

/// Everything that was there is there.
async fn assert_nothing_is_lost(world: &World, sid: &SessionId, bob: &SessionId, id: &str) {
    let ann = world.resume("ann", sid).await.unwrap();
    assert_eq!(send(&ann, "waits").await, id, "the mid was forgotten");
    let mut bob = world.resume("bob", bob).await.unwrap();
    let event = bob.next_message().await.unwrap();
    assert_eq!(event.message.id.as_str(), id);
}

#[tokio::test]
async fn a_clock_that_jumps_for_a_while_drops_nothing() {
    for restarts in [false, true] {
        for ahead in [true, false] {
            let mut world = World::new().await;
            world.pass(2 * HOUR).await;
            let (ann, sid) = world.log_in("ann").await;
            let (bob, of_bob) = world.log_in("bob").await;
            drop(bob);
            let id = send(&ann, "waits").await;
            drop(ann);
            world.engine.run_maintenance().await.unwrap();

            world.jump(ahead);
            if restarts {
                world.restart();
            }
            world.pass(75 * SECOND).await;
            assert!(world.resume("ann", &sid).await.is_ok());
            world.jump(!ahead);
            world.pass(75 * SECOND).await;
            assert_nothing_is_lost(&world, &sid, &of_bob, &id).await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_stays_where_it_jumped_is_believed_after_a_day() {
    let world = World::new().await;
    world.pass(2 * HOUR).await;
    let (ann, sid) = world.log_in("ann").await;
    send(&ann, "waits").await;
    drop(ann);
    let before = world.engine.welcome().time;
    world.jump(true);
    world.pass(23 * HOUR).await;
    assert!(world.engine.welcome().time < before + DAY.as_secs());
    assert!(world.resume("ann", &sid).await.is_ok());
    world.pass(2 * HOUR).await;
    assert_eq!(world.engine.welcome().time, world.clock.now().as_secs());
    let expired = world.resume("ann", &sid).await.map(drop).unwrap_err();
    assert_eq!(expired.code, ErrorCode::NeedAuth);
    let (mut bob, _) = world.log_in("bob").await;
    let (ann, _) = world.log_in("ann").await;
    ann.call(SendMessage::new("bob", "new")).await.unwrap();
    let event = bob.next_message().await.unwrap();
    assert_eq!(event.message.body.as_str(), "new", "the other was too old");
}

#[tokio::test]
async fn small_steps_of_the_clock_are_followed_at_once() {
    let world = World::new().await;
    world.pass(2 * HOUR).await;
    for step in [30 * SECOND, Duration::from_millis(1)] {
        world.clock.set(world.clock.now().before(step));
        world.engine.run_maintenance().await.unwrap();
        assert_eq!(world.engine.welcome().time, world.clock.now().as_secs());
    }
}

#[tokio::test]
async fn log_ins_in_a_wrong_year_keep_no_places() {
    let mut world = World::new().await;
    // The machine starts in a wrong year, and is put right a little later.
    world.jump(true);
    world.restart();
    let mut stays = None;
    for _ in 0..7 {
        stays = Some(world.log_in("ann").await);
    }
    world.pass(SECOND).await;
    world.jump(false);
    world.pass(2 * HOUR).await;
    let now = world.clock.now();
    assert!(world.used().await.iter().all(|used| *used <= now));
    // One that is there all the time counts as used by the right clock.
    let (connected, sid) = stays.unwrap();
    world.pass(SECOND).await;
    connected.call(Ack::new(0)).await.unwrap();
    world.pass(SECOND).await;
    assert!(world.used().await[0] > now);
    // Newer ones come, and the others make room for them.
    for _ in 0..7 {
        world.pass(SECOND).await;
        world.log_in("ann").await;
    }
    assert!(world.resume("ann", &sid).await.is_ok());
    assert!(world.used().await.iter().all(|used| *used >= now));
}
