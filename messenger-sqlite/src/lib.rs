//! The messenger engine's [`Storage`](messenger_core::storage::Storage) in one SQLite file.
//!
//! One thread writes: it commits what has queued as one transaction, and answers everyone in it
//! after the commit has reached the disk. Two threads read beside it.
//!
//! ```
//! use messenger_core::Engine;
//! use messenger_sqlite::SqliteStorage;
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("messenger.db");
//! let storage = SqliteStorage::open(&path)?;
//! let engine = Engine::builder().storage(Arc::new(storage)).build()?;
//! assert!(engine.health().await.storage.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Embed it
//!
//! Open it once, and give it to one engine: a lock file beside the store keeps a second process out. Beside it lies SQLite's log as well, so
//! what is backed up or mounted is the folder. [`back_up`] copies a store that is in use, [`check`] says whether one is sound, [`salvage`] saves what can be
//! read of a damaged one, and [`mark_restored`] is to be called on an older copy before it is served.
//!
//! **Quicker syncs on Linux**: SQLite syncs with `fsync` unless it is compiled to know `fdatasync`, which waits for less. Only whoever builds the program can say so,
//! for a crate sets no flags of another one:
//!
//! ```toml
//! # .cargo/config.toml
//! [env]
//! LIBSQLITE3_FLAGS = "-DHAVE_FDATASYNC=1"
//! ```
//!
//! A program that was built without it says so in its log when it opens a store.
//!
//! # Guarantees
//!
//! - What was answered is on the disk (`synchronous=FULL`); after a crash the store opens as it was answered.
//! - When a commit fails each call is tried alone, and after a failed sync nothing of it counts.
//! - What is deleted is overwritten.
//! - With [`SqliteStorage::keep_free`] the disk is not filled: below that much free room messages are refused, and there is room for everything else.
//! - A file that is no store, was cut off, or is of a newer version is not opened, and the error says what to do.
//! - It passes the suites that every store must pass (`messenger_core::testing::storage`).
//!
//! # Limits
//!
//! 1,024 calls go into a transaction. What waits for the writer is bounded in calls and in bytes; more is refused as unavailable. A file that another program
//! keeps locked is waited for 2 seconds.
//!
//! # Performance
//!
//! A hundred senders at once are answered 224,000 times a second, where a bare loop that appends the same bytes and syncs does 217,000; one alone 6,200 times,
//! where the loop does 6,100 (2026-11-29, with `fdatasync`). With a million messages stored it opens in 4 milliseconds.

mod arrivals;
mod backup;
mod check;
mod disk;
mod error;
mod fault;
mod fdatasync;
mod file;
mod fit;
mod format;
mod header;
mod inboxes;
mod lock;
mod messages;
mod moved;
mod place;
#[cfg(test)]
mod plans;
mod readers;
mod recent;
mod restored;
mod salvage;
mod skeletons;
mod sql;
mod store;
mod transfer;
mod untouched;
mod wal;
mod writer;

pub use backup::{back_up, mark_restored};
pub use check::check;
pub use error::{BackupError, CheckError, OpenError, SalvageError};
pub use salvage::{Salvaged, SalvagedTable, salvage};
pub use store::SqliteStorage;
pub use transfer::TransferSource;
