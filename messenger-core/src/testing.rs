//! For tests: the suites that every [`Storage`](crate::storage::Storage) and every
//! [`Notifier`](crate::notifier::Notifier) must pass, and time and randomness to set by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a suite fails by panicking

mod faulty;
mod inputs;
pub mod notifier;
pub mod storage;

pub use faulty::FaultyStorage;
pub use inputs::{ManualClock, SeededEntropy};
