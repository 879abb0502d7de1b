//! Where a session keeps what it must not forget.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

mod file;

pub use file::FileStore;

/// Keeps the few bytes of a [`Session`](crate::Session) over restarts of the application: a table of names and values.
///
/// A session has an entry of its own, with its secret and the number of the last message processed, and one for each message in
/// the outbox. Names are letters, digits and `-`. Calls come one at a time, each when the last one has returned.
///
/// An application with a database puts this into it, in a table of its own for each session.
///
/// # Durability
/// What `put` and `delete` did has happened whole or not at all, and when they return it survives a loss of power.
///
/// # Secrets
/// Values hold the session's secret and messages: nobody else may read them.
///
/// # Cancel safety
/// `load` is dropped with the future of [`Builder::start`](crate::Builder::start). `put` and `delete` are awaited to their end,
/// unless the runtime ends before.
///
/// # Examples
/// ```
/// use messenger_client::{MemoryStore, StateStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut store = MemoryStore::default();
/// store.put("session", "first".into()).await?;
/// store.put("session", "second".into()).await?;
/// assert_eq!(store.load().await?, [("session".to_owned(), "second".into())]);
///
/// store.delete("session").await?;
/// store.delete("session").await?; // no error
/// assert!(store.load().await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait StateStore: Send + 'static {
    /// All entries, in any order. Called once, first.
    ///
    /// # Errors
    /// They cannot be read.
    async fn load(&mut self) -> io::Result<Vec<(String, Bytes)>>;

    /// Writes an entry, in place of any of that name.
    ///
    /// # Errors
    /// It was not written; an earlier one is still there.
    async fn put(&mut self, name: &str, value: Bytes) -> io::Result<()>;

    /// Deletes an entry; one that is not there is no error.
    ///
    /// # Errors
    /// It is still there.
    async fn delete(&mut self, name: &str) -> io::Result<()>;
}

/// Forgets with the process. Clones are one, so a session that ends can be gone on with.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl std::fmt::Debug for MemoryStore {
    /// Without what is kept, which is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryStore({} entries)", self.0.lock().len())
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn load(&mut self) -> io::Result<Vec<(String, Bytes)>> {
        Ok(self.0.lock().clone().into_iter().collect())
    }

    async fn put(&mut self, name: &str, value: Bytes) -> io::Result<()> {
        self.0.lock().insert(name.to_owned(), value);
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name);
        Ok(())
    }
}
