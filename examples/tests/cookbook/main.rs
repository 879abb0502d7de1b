//! The programs of the cookbook do what its pages say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod bot;
mod irc;
mod metrics;
mod moderation;
mod pages;
mod push;
mod shutdown;
mod support;
mod two_engines;
mod webhook;
