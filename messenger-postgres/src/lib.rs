//! The messenger engine's [`Storage`](messenger_core::storage::Storage) in a PostgreSQL database, which several
//! servers may share.
//!
//! Every call is one statement, and so one transaction: most of them are functions of the database. Numbers in an inbox
//! are given under its row's lock. Messages go in batches: what comes while one is under way is the next. When an
//! answer is lost, as with a server that is killed, the call is made again, and what was done already is not done twice.
//! A call fails after 4.5 seconds without the database; service is back by itself when the database is.
//!
//! After a restore from an older copy, [`mark_restored`] has to be called before a server uses it.
//!
//! It counts, with the `metrics` facade, `messenger_postgres_connects_total`, connections that were made,
//! `messenger_postgres_batches_total`, batches of messages that were sent, and `messenger_postgres_repeats_total`, calls that
//! were made again because their answer was lost or another call stood in the way.
//!
//! It needs PostgreSQL 15 or later, and a database of its own whose encoding is UTF8.
//!
//! ```no_run
//! use messenger_core::Engine;
//! use messenger_postgres::PostgresStorage;
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = PostgresStorage::connect("postgres://messenger@localhost/messenger").await?;
//! let engine = Engine::builder().storage(Arc::new(storage)).build()?;
//! # let _ = engine;
//! # Ok(())
//! # }
//! ```

mod batch;
mod calls;
mod database;
mod error;
mod identity;
mod lane;
mod link;
mod meters;
mod migrations;
mod params;
mod restored;
mod row;
mod safety;
mod skeletons;
mod store;
mod text;
mod timeouts;
mod tls;
mod transfer;

pub use database::Database;
pub use error::{ConnectError, TransferError};
pub use restored::mark_restored;
pub use safety::Concern;
pub use store::PostgresStorage;
pub use transfer::TransferTarget;
