//! The store and the notifier.

use super::{Settings, SettingsError};
use messenger_core::storage::MemoryStorage;
use messenger_core::{Builder, Engine};
use std::fmt;
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
    /// `postgres://…` (feature `postgres`)
    #[cfg(feature = "postgres")]
    Postgres(Box<messenger_postgres::Database>),
}

/// A notifier, named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifierUrl {
    /// `local:`
    Local,
    /// `nats://…` and `tls://…` (feature `nats`)
    #[cfg(feature = "nats")]
    Nats(Box<messenger_nats::Servers>),
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
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Box::new(url.parse()?))),
            _ => Err(SettingsError::Store),
        }
    }
}

impl fmt::Display for StoreUrl {
    /// Where everything is kept, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory, until the server ends"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => match std::path::absolute(path) {
                Ok(path) => write!(f, "{}", path.display()),
                Err(_) => write!(f, "{}", path.display()),
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => write!(f, "PostgreSQL at {database}"),
        }
    }
}

impl FromStr for NotifierUrl {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, SettingsError> {
        match url.split_once(':') {
            Some(("local", "")) => Ok(Self::Local),
            #[cfg(feature = "nats")]
            Some(("nats" | "tls", _)) => Ok(Self::Nats(Box::new(url.parse()?))),
            _ => Err(SettingsError::Notifier),
        }
    }
}

/// The other nodes, as far as this one tells them anything.
#[must_use]
#[derive(Debug)]
pub struct OtherNodes {
    #[cfg(feature = "nats")]
    nats: Option<Arc<messenger_nats::NatsNotifier>>,
}

impl OtherNodes {
    const fn none() -> Self {
        Self {
            #[cfg(feature = "nats")]
            nats: None,
        }
    }

    /// Tells them what is left to tell, and that this one goes. It takes two seconds at the most.
    pub async fn leave(&self) {
        #[cfg(feature = "nats")]
        if let Some(nats) = &self.nats {
            nats.close().await;
        }
    }
}

impl NotifierUrl {
    /// Whether it is for nodes on a store like this.
    pub(super) fn is_of(&self, store: &StoreUrl) -> bool {
        match (self, store) {
            (Self::Local, _) => true,
            #[cfg(all(feature = "nats", feature = "postgres"))]
            (Self::Nats(_), StoreUrl::Postgres(_)) => true,
            #[cfg(feature = "nats")]
            (Self::Nats(_), _) => false,
        }
    }

    /// Nodes that share a store know each other by its id.
    #[cfg(feature = "postgres")]
    #[cfg_attr(not(feature = "nats"), expect(unused_variables))] // no other nodes to know
    pub(super) async fn connect(
        &self,
        builder: Builder,
        store: &str,
    ) -> Result<(Builder, OtherNodes), SettingsError> {
        match self {
            // The builder's own.
            Self::Local => Ok((builder, OtherNodes::none())),
            #[cfg(feature = "nats")]
            Self::Nats(servers) => {
                let servers = (**servers).clone().or_prefix(store)?;
                let nats = Arc::new(messenger_nats::NatsNotifier::connect(servers).await?);
                let builder = builder.notifier(nats.clone());
                Ok((builder, OtherNodes { nats: Some(nats) }))
            }
        }
    }
}

impl Settings {
    /// An engine builder with the store and the notifier that were asked for.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn engine(&self) -> Result<(Builder, OtherNodes), SettingsError> {
        self.check_fit()?;
        let builder = Engine::builder().policy(self.policy());
        match &self.store {
            StoreUrl::Memory => {
                let storage = MemoryStorage::with_limit(self.limits.max_memory);
                Ok((builder.storage(Arc::new(storage)), OtherNodes::none()))
            }
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => {
                let storage = messenger_sqlite::SqliteStorage::open(path)?;
                storage.keep_free(self.limits.min_free_disk);
                Ok((builder.storage(Arc::new(storage)), OtherNodes::none()))
            }
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(database) => {
                let storage = messenger_postgres::PostgresStorage::open(database).await?;
                let id = storage.id().to_owned();
                let builder = builder.storage(Arc::new(storage));
                self.notifier.connect(builder, &id).await
            }
        }
    }
}
