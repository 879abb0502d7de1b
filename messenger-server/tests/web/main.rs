//! The page, in real browsers: Debian's chromium, driven by its chromedriver.

#[path = "../support/mod.rs"]
mod support;

mod site;
mod talk;
mod webdriver;
