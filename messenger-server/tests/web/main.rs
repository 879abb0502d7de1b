//! The page, in real browsers: Debian's chromium, driven by its chromedriver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

#[path = "../support/mod.rs"]
mod support;

mod accessibility;
mod attachments;
mod files;
mod hostile;
mod importing;
mod pictures;
mod restart;
mod site;
mod speed;
mod tabs;
mod talk;
mod webdriver;
