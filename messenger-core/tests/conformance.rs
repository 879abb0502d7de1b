//! The in-memory implementations pass the suites.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::notifier::LocalNotifier;
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::testing::{self, FaultyStorage};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn memory_storage() {
    testing::storage::suite(async || Arc::new(MemoryStorage::new()) as Arc<dyn Storage>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_keeps_no_accounts() {
    testing::storage::suite(async || {
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
        Arc::new(storage.without_accounts()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_counts_for_all_servers() {
    testing::storage::suite(async || {
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
        Arc::new(storage.far_away()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_notifier() {
    testing::notifier::suite(async || {
        let notifier = Arc::new(LocalNotifier::new());
        (Arc::clone(&notifier), notifier)
    })
    .await;
}
