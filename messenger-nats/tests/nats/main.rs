//! The notifier, with real servers of NATS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod access;
mod credentials;
mod engines;
mod faults;
mod frames;
mod notices;
mod support;
