//! Three nodes of the server on a pair of PostgreSQL servers and a cluster of three NATS servers, all of them real
//! processes, behind ways that can be cut; clients that wander between the nodes; and whatever goes wrong, in an order
//! that a seed decides. What was accepted is given, in order and once; no request waits for long; service is back by
//! itself.
//!
//! `CLUSTER_SEED=7 cargo test -p messenger-server --test cluster -- --nocapture` lets the same happen again, which
//! need not have the same effect. `CLUSTER_MINUTES=30` goes on for longer, with longer faults;
//! `CLUSTER_FAULTS=NodeKilled,NatsAway` has only those; with `CLUSTER_OLD_BINARY=PATH` one node is of that version.
//!
//! The promises are those of `messenger-core/tests/simulator.rs`. Its world is no use here: in it one thing happens after
//! the other, and all that was accepted has one order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod bystander;
mod check;
mod cluster;
mod device;
mod faults;
mod folder;
mod nats;
mod newcomers;
mod node;
mod patience;
mod peace;
mod postgres;
mod probe;
mod process;
mod proxy;
mod schedule;
mod sender;
mod trouble;
