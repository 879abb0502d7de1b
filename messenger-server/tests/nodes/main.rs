//! Servers that share a PostgreSQL database, and tell each other over NATS what is new.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod faults;
mod limits;
mod operator;
mod start;
mod talk;
mod upgrade;
