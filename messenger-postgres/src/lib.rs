//! The messenger engine's [`Storage`](messenger_core::storage::Storage) in a PostgreSQL database, which several
//! servers may share.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_postgres::PostgresStorage;
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let postgres = testing_servers::Postgres::start().await;
//! # let url = postgres.database().await;
//! let storage = PostgresStorage::connect(&url).await?; // such as "postgres://messenger@localhost/messenger"
//! let engine = Engine::builder().storage(Arc::new(storage)).build()?;
//! assert!(engine.health().await.storage.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Embed it
//!
//! Give each engine a store of its own, of the same database. The first one makes the tables, and each upgrades them. [`PostgresStorage::concern`]
//! tells what is not as safe as it could be. Servers that share a database also want a notifier between them, such as `messenger-nats`.
//!
//! # Guarantees
//!
//! - What was answered is committed, and on the disk of the database; with a synchronous standby, on two. A database that
//!   would not keep it is refused ([`ConnectError::Unsafe`]), and without a standby there is a [`Concern`].
//! - While all synchronous standbys are away nothing is stored, and what is read is read. What an operator has PostgreSQL commit
//!   without them meanwhile, by cancelling a statement that waits, is read, but not answered as stored: neither to the call that
//!   waited nor to a later one that finds it done.
//! - Every call is one statement, and so one transaction: most of them are functions of the database. When an answer is
//!   lost, as with a database that is killed, the call is made again, and what was done already is not done twice.
//! - Numbers in an inbox are given under its row's lock, without a gap, however many servers append to it.
//! - A call fails after 4 seconds without the database, and says when it may have been done nevertheless. Service is back
//!   by itself when the database is. An inbox that somebody else has locked keeps nobody else.
//! - A database that turns out to have lost what it had stored, as after a failover to a standby that was behind, is logged
//!   as an error, and inboxes go on under numbers that were never given
//!   ([`lost_up_to`](messenger_core::storage::Storage::lost_up_to)). After a restore from an older copy
//!   [`mark_restored`] has to be called before a server starts on it.
//!
//! # Limits
//!
//! - It needs PostgreSQL 15 or later, and a database of its own whose encoding is UTF8.
//! - Each store has eight connections. Messages go in batches of up to 512, on two of them: what comes while one is under way
//!   is the next. 50,000 messages and 64 MiB wait on each, and 4,000 other calls on each of the other six, of which
//!   three are for what is read and three for what is stored; more are refused. While synchronous standbys are away the database
//!   has up to twice as many.
//! - A list of contacts has up to 64 MiB of pictures and one more; those beyond are not read.
//! - Behind a pooler such as pgbouncer, which may give each transaction another connection, `statement_timeout` and
//!   `lock_timeout` have to be set for the user: `ALTER ROLE messenger SET statement_timeout = '3500ms'`.
//! - Notices do not go through it: servers that share it need a [`Notifier`](messenger_core::notifier::Notifier) between
//!   them, or what one has stored is seen by the others at their next look.
//!
//! # Performance
//!
//! A batch costs the database a few statements over all of it, whatever is in it, so throughput grows with the number of senders; one
//! alone waits for a round trip and a sync. `benches/README.md` in the repository has figures beside a file and beside bare inserts.
//!
//! # Metrics
//!
//! It counts, with the `metrics` facade, `messenger_postgres_connects_total`, connections that were made,
//! `messenger_postgres_batches_total`, batches of messages that were sent, `messenger_postgres_repeats_total`, calls that were
//! made again because their answer was lost or another call stood in the way, and `messenger_postgres_losses_total`, times
//! that the database was found to have lost something.

mod batch;
mod calls;
mod computed;
mod database;
mod error;
mod identity;
mod lane;
mod link;
mod mark_restored;
mod meters;
mod migrations;
mod params;
mod restored;
mod row;
mod safety;
mod store;
mod text;
mod timeouts;
mod tls;
mod transfer;

pub use database::Database;
pub use error::{ConnectError, TransferError};
pub use mark_restored::mark_restored;
pub use safety::Concern;
pub use store::PostgresStorage;
pub use transfer::TransferTarget;
