//! For tests: the suites that every [`Storage`](crate::storage::Storage), every [`Notifier`](crate::notifier::Notifier),
//! every [`Authenticator`](crate::authenticator::Authenticator) and every transport must pass, and time and
//! randomness to set by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a suite fails by panicking

pub mod authenticator;
mod faulty;
mod inputs;
pub mod notifier;
pub mod storage;
pub mod transport;

pub use faulty::FaultyStorage;
pub use inputs::{ManualClock, SeededEntropy};
