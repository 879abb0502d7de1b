//! Under which settings the benches run, and for how long.

use messenger_core::Policy;

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
