//! Under which settings the benches run, for how long, and how somebody joins an engine.

#![allow(clippy::unwrap_used)] // a benchmark that cannot run is over

use messenger_core::proto::{Auth, Register};
use messenger_core::{Connection, Engine, Policy};

/// The engine's defaults without limits in time, and with an inbox that is never full: what is refused
/// would be quick, and is not what anybody wants to measure.
pub fn unlimited() -> Policy {
    let mut policy = Policy::default();
    policy.limits.inbox.messages = u64::MAX;
    policy.limits.inbox.bytes = u64::MAX;
    policy.rates = None;
    // Nobody's password is measured.
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    policy
}

/// True unless `cargo bench` runs the program: then it only shows that it works, and tells no figures.
pub fn is_short() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Somebody who has logged in, and is registered if need be.
pub async fn join(engine: &Engine, login: &str) -> Connection {
    let connection = engine.connect();
    let _ = connection.call(Register::new(login, "secret", login)).await;
    connection.call(Auth::new(login, "secret")).await.unwrap();
    connection
}
