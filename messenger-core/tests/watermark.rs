//! What is raised is stored, in whatever order threads carry out the steps: loom tries them all, but those in which
//! threads are interrupted more often than [`PREEMPTIONS`].

#![allow(clippy::unwrap_used)] // a test fails by panicking

use loom::thread;
use watermark::{AtomicWatermark, Raised};

#[path = "../src/watermark.rs"]
mod watermark;

/// What the engine takes from the standard library and `parking_lot`, as loom has it.
mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

use sync::{Arc, Mutex};

/// How often threads are interrupted in the midst of their work. With three, everything takes a second; hardly any fault
/// needs more.
const PREEMPTIONS: usize = 3;

/// A session's watermark and its store, as the engine has them.
struct World {
    watermark: Arc<AtomicWatermark>,
    raised: Raised<AtomicWatermark>,
    /// What the store knows. Whoever stores holds it, so that they go one after the other.
    stored: Mutex<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            watermark: Arc::new(AtomicWatermark::new(0)),
            raised: Raised::new(|watermark| watermark),
            stored: Mutex::new(0),
        }
    }

    fn raise(&self, to: u64) {
        let raise = self.raised.raise(&self.watermark, to);
        assert!(raise.is_none_or(|raise| raise.before < to));
    }

    fn store(&self) -> u64 {
        let mut stored = self.stored.lock();
        for watermark in self.raised.take(|_| true) {
            *stored = watermark.get().max(*stored);
        }
        *stored
    }

    /// Takes what there is to store, and cannot.
    fn fail_to_store(&self) {
        let _stored = self.stored.lock();
        for watermark in self.raised.take(|_| true) {
            self.raised.list(&watermark);
        }
    }
}

/// Runs the threads in every order, and then says what the store knows in the end.
fn in_every_order(threads: &'static [fn(&World)], check: fn(u64)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        let world = Arc::new(World::new());
        let running: Vec<_> = threads
            .iter()
            .map(|act| {
                let world = Arc::clone(&world);
                thread::spawn(move || act(&world))
            })
            .collect();
        for thread in running {
            thread.join().unwrap();
        }
        check(world.store());
    });
}

#[test]
fn whoever_raises_and_then_stores_finds_it_stored() {
    in_every_order(
        &[
            |world| {
                world.raise(7);
                assert!(world.store() >= 7);
            },
            |world| {
                world.raise(8);
                assert!(world.store() >= 8);
            },
        ],
        |stored| assert_eq!(stored, 8),
    );
}

#[test]
fn what_is_raised_while_others_store_is_stored_by_the_next() {
    in_every_order(
        &[
            |world| {
                world.raise(1);
                world.raise(2);
            },
            |world| world.raise(3),
            |world| assert!(world.store() <= 3),
        ],
        |stored| assert_eq!(stored, 3),
    );
}

#[test]
fn what_could_not_be_stored_is_stored_by_the_next() {
    in_every_order(
        &[
            |world| {
                world.raise(1);
                assert!(world.store() >= 1);
            },
            World::fail_to_store,
            |world| world.raise(2),
        ],
        |stored| assert_eq!(stored, 2),
    );
}
