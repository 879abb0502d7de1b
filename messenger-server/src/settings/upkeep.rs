//! What an operator does with a store, beside serving it.

use super::{Settings, SettingsError, StoreUrl};
#[cfg(feature = "postgres")]
use crate::causes::in_full;
use messenger_core::Builder;
#[cfg(feature = "postgres")]
use messenger_core::Health;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use messenger_core::{Engine, storage::Storage};
use std::path::Path;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::time::{Duration, Instant};
#[cfg(feature = "postgres")]
use tokio::time::sleep;

/// How long NATS may take to let a node in before it is said that it does not.
#[cfg(feature = "postgres")]
const NATS_PATIENCE: Duration = Duration::from_secs(3);

impl Settings {
    /// Whether a server would serve with these settings what was stored: the store is there and sound, and so is the
    /// certificate. Sentences about what an operator should know nevertheless.
    ///
    /// # Errors
    /// It would not.
    pub async fn check(&self) -> Result<Vec<String>, SettingsError> {
        self.check_fit()?;
        self.listening.tls()?;
        match &self.store {
            StoreUrl::Memory => Ok(Vec::new()),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                messenger_sqlite::check(path)?;
                Ok(Vec::new())
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(database) => {
                let storage = messenger_postgres::PostgresStorage::open_beside(database).await?;
                let mut concerns =
                    Vec::from_iter(storage.concern().map(|concern| concern.to_string()));
                let id = storage.id().to_owned();
                let builder = Engine::builder().storage(Arc::new(storage));
                let (builder, others) = self.notifier.connect(builder, &id).await?;
                let engine = builder.manual_maintenance().build()?;
                let health = health(&engine).await;
                others.leave().await;
                health.storage?;
                health.clock?;
                concerns.extend(health.notifier.err().map(|error| in_full(&error)));
                Ok(concerns)
            }
        }
    }

    /// An engine for an operator's calls, on a store that servers may be using meanwhile.
    ///
    /// # Errors
    /// The store is in memory, is not there, or cannot be opened.
    pub async fn engine_beside(&self) -> Result<Builder, SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NotKept),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                let path = existing(path)?;
                let storage = messenger_sqlite::SqliteStorage::open_beside(path)?;
                Ok(self.beside(Arc::new(storage)))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(database) => {
                let storage = messenger_postgres::PostgresStorage::open_beside(database).await?;
                Ok(self.beside(Arc::new(storage)))
            }
        }
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn beside(&self, storage: Arc<dyn Storage>) -> Builder {
        let builder = Engine::builder().policy(self.policy());
        builder.storage(storage).manual_maintenance()
    }

    /// Copies the store to a new file, also while a server uses it.
    ///
    /// # Errors
    /// The store is not a file, is not there, or cannot be read; or the copy cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to copy
    pub fn back_up(&self, to: &Path) -> Result<(), SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NotKept),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Ok(messenger_sqlite::back_up(existing(path)?, to)?),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(_) => Err(SettingsError::DatabaseCopy),
        }
    }

    /// Saves what can be read of a damaged store to a new file; a table of how much that was.
    ///
    /// # Errors
    /// The store is not a file, is not there, or nothing can be read of it; or the new file cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to save
    pub fn salvage(&self, to: &Path) -> Result<String, SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NotKept),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                Ok(messenger_sqlite::salvage(existing(path)?, to)?.to_string())
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(_) => Err(SettingsError::DatabaseDamage),
        }
    }

    /// Says that the store is an older copy of one that was lost.
    ///
    /// # Errors
    /// The store is in memory, is not there, cannot be opened, or a server uses it.
    pub async fn mark_restored(&self) -> Result<(), SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NotKept),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Ok(messenger_sqlite::mark_restored(existing(path)?)?),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(database) => Ok(messenger_postgres::mark_restored(database).await?),
        }
    }
}

/// Gives NATS time to let this node in.
#[cfg(feature = "postgres")]
async fn health(engine: &Engine) -> Health {
    let begun = Instant::now();
    loop {
        let health = engine.health().await;
        if health.notifier.is_ok() || begun.elapsed() > NATS_PATIENCE {
            return health;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(feature = "sqlite")]
fn existing(path: &Path) -> Result<&Path, SettingsError> {
    if path.try_exists().is_ok_and(|exists| !exists) {
        let path = path.to_owned();
        return Err(SettingsError::NoStore { path });
    }
    Ok(path)
}
