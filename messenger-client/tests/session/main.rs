//! Sessions that outlive their connections, against a server in the same process, over a network that can do everything. Time
//! is virtual: whatever waits costs nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod network;
mod offline;
mod outbox;
mod seeds;
mod sessions;
mod stores;
mod world;
