//! Real PostgreSQL, NATS and IRC servers for tests: each test has its own, in a folder of its own, and it ends with the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)] // a test fails by panicking

mod nats;
mod ngircd;
mod pgbouncer;
mod postgres;
mod proxy;

pub use nats::Nats;
pub use ngircd::Ngircd;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, chown as give_to_postgres, command as postgres_program};
pub use proxy::Proxy;

use std::time::Duration;

/// How long anything may take: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);
