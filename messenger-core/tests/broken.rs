//! The suites find out what breaks a promise: stores, notifiers, authenticators and transports, each another one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

#[path = "broken/authenticator.rs"]
mod authenticator;
#[path = "broken/notifier.rs"]
mod notifier;
#[path = "broken/storage.rs"]
mod storage;
#[path = "broken/transport.rs"]
mod transport;

use messenger_core::notifier::Notifier;
use messenger_core::storage::Storage;
use messenger_core::testing;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// True when the suite comes to its end.
fn passes(suite: impl Future<Output = ()>) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let passed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite))).is_ok();
    // A broken store may have left somebody waiting for ever.
    runtime.shutdown_background();
    passed
}

fn store_passes(fault: storage::Fault) -> bool {
    passes(testing::storage::suite(async || {
        Arc::new(storage::Broken::new(fault)) as Arc<dyn Storage>
    }))
}

fn notifier_passes(fault: notifier::Fault) -> bool {
    passes(testing::notifier::suite(async || {
        let notifier: Arc<dyn Notifier> = Arc::new(notifier::Broken::new(fault));
        (Arc::clone(&notifier), notifier)
    }))
}

fn authenticator_passes(fault: authenticator::Fault) -> bool {
    passes(testing::authenticator::suite("ann", "secret", async || {
        Arc::new(authenticator::Broken::new(fault))
    }))
}

fn transport_passes(fault: transport::Fault) -> bool {
    passes(testing::transport::suite(async |engine| {
        transport::connect(engine, fault)
    }))
}

/// Those for whom `passes` is true. Each is tried by a thread of its own: some take as long as the suite waits.
fn passing<F: Copy + Send + Sync>(faults: &[F], passes: impl Fn(F) -> bool + Sync) -> Vec<F> {
    std::thread::scope(|scope| {
        let tried = faults.iter().map(|fault| scope.spawn(|| passes(*fault)));
        let tried: Vec<_> = tried.collect();
        let tried = faults.iter().zip(tried);
        let passed = tried.filter_map(|(fault, tried)| tried.join().unwrap().then_some(*fault));
        passed.collect()
    })
}

#[test]
fn no_broken_store_passes_the_suite() {
    assert!(store_passes(storage::Fault::None));
    assert_eq!(passing(storage::Fault::ALL, store_passes), []);
}

#[test]
fn no_broken_notifier_passes_the_suite() {
    assert!(notifier_passes(notifier::Fault::None));
    assert_eq!(passing(notifier::Fault::ALL, notifier_passes), []);
}

#[test]
fn no_broken_authenticator_passes_the_suite() {
    assert!(authenticator_passes(authenticator::Fault::None));
    assert_eq!(passing(authenticator::Fault::ALL, authenticator_passes), []);
}

#[test]
fn no_broken_transport_passes_the_suite() {
    assert!(transport_passes(transport::Fault::None));
    assert_eq!(passing(transport::Fault::ALL, transport_passes), []);
}
