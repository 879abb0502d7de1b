//! The store and the notifier, and what an operator does with a store.

use super::{Settings, SettingsError};
use messenger_core::storage::MemoryStorage;
use messenger_core::{Builder, Engine};
use std::path::Path;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(feature = "sqlite")]
pub(super) const DEFAULT_STORE: &str = "sqlite:messenger.db";
#[cfg(not(feature = "sqlite"))]
pub(super) const DEFAULT_STORE: &str = "memory:";

/// A store, named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH` (feature `sqlite`)
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
}

/// A notifier, named by a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifierUrl {
    /// `local:`
    Local,
}

impl FromStr for StoreUrl {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            #[cfg(feature = "sqlite")]
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with(':') => {
                Ok(Self::Sqlite(path.into()))
            }
            _ => Err(SettingsError::Store),
        }
    }
}

impl FromStr for NotifierUrl {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        match url {
            "local:" => Ok(Self::Local),
            _ => Err(SettingsError::Notifier),
        }
    }
}

impl Settings {
    /// Whether a server would serve with these settings what was stored: the store is there and sound, and so is the
    /// certificate.
    ///
    /// # Errors
    /// It would not.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_numbers()?;
        self.listening.tls()?;
        match &self.store {
            StoreUrl::Memory => {}
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => messenger_sqlite::check(path)?,
        }
        Ok(())
    }

    /// Where the store is, for whoever reads it.
    ///
    /// # Errors
    /// The store is not a file, or there is none yet.
    pub fn existing_store(&self) -> Result<&Path, SettingsError> {
        match &self.store {
            StoreUrl::Memory => Err(SettingsError::NoFile),
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) if path.try_exists().is_ok_and(|exists| !exists) => {
                let path = path.clone();
                Err(SettingsError::NoStore { path })
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Ok(path),
        }
    }

    /// An engine for an operator's calls, on a store that a server may be using meanwhile.
    ///
    /// # Errors
    /// The store is not a file, is not there, or cannot be opened.
    pub fn engine_beside(&self) -> Result<Builder, SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => {
                let path = self.existing_store()?;
                let storage = messenger_sqlite::SqliteStorage::open_beside(path)?;
                let builder = Engine::builder().policy(self.policy());
                let builder = builder.storage(Arc::new(storage));
                Ok(builder.manual_maintenance())
            }
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Copies the store to a new file, also while a server uses it.
    ///
    /// # Errors
    /// The store is not a file, is not there, or cannot be read; or the copy cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to copy
    pub fn back_up(&self, to: &Path) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => Ok(messenger_sqlite::back_up(self.existing_store()?, to)?),
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Saves what can be read of a damaged store to a new file; a table of how much that was.
    ///
    /// # Errors
    /// The store is not a file, is not there, or nothing can be read of it; or the new file cannot be written.
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] // no store to save
    pub fn salvage(&self, to: &Path) -> Result<String, SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => {
                Ok(messenger_sqlite::salvage(self.existing_store()?, to)?.to_string())
            }
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// Says that the store is an older copy of one that was lost.
    ///
    /// # Errors
    /// The store is not a file, is not there, cannot be opened, or a server uses it.
    pub fn mark_restored(&self) -> Result<(), SettingsError> {
        match &self.store {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(_) => Ok(messenger_sqlite::mark_restored(self.existing_store()?)?),
            StoreUrl::Memory => Err(SettingsError::NoFile),
        }
    }

    /// An engine builder with the store and the notifier that were asked for.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn engine(&self) -> Result<Builder, SettingsError> {
        self.check_numbers()?;
        let builder = Engine::builder().policy(self.policy());
        let builder = match &self.store {
            StoreUrl::Memory => {
                let storage = MemoryStorage::with_limit(self.limits.max_memory);
                builder.storage(Arc::new(storage))
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                let storage = messenger_sqlite::SqliteStorage::open(path)?;
                storage.keep_free(self.limits.min_free_disk);
                builder.storage(Arc::new(storage))
            }
        };
        Ok(match self.notifier {
            // The builder's own.
            NotifierUrl::Local => builder,
        })
    }
}
