//! A world in which everything goes wrong in an order that a seed decides: connections are cut,
//! notices are lost, late or doubled, the engine crashes and starts again, replies do not arrive.
//! Whatever happens, every message accepted with status 0 is given at least once, in order, and
//! exactly once to a client that acknowledges.
//!
//! Nothing runs in parallel and no time passes but what the seed says, so a seed replays:
//! `SIMULATOR_SEED=7 cargo test -p messenger-core --test simulator`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod simulator {
    pub(crate) mod device;
    pub(crate) mod flaky;
    pub(crate) mod world;
}

use simulator::world::World;

/// How many worlds a normal test run lives through.
const SEEDS: u64 = 2000;

/// How many things happen in each.
const STEPS: usize = 300;

fn live_through(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world.check();
}

#[test]
fn nothing_is_lost_reordered_or_doubled() {
    let one = std::env::var("SIMULATOR_SEED");
    let seeds = match one.ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| live_through(seed));
        if lived.is_err() {
            panic!("replay with SIMULATOR_SEED={seed}");
        }
    }
}
