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
//! # let _ = engine;
//! # Ok(())
//! # }
//! ```

mod arrivals;
mod backup;
mod check;
mod disk;
mod error;
mod fault;
mod file;
mod fit;
mod header;
mod inboxes;
mod lock;
mod moved;
mod place;
mod readers;
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
