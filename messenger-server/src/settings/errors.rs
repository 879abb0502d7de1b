//! Settings that cannot be used.

use crate::TlsError;
#[cfg(feature = "postgres")]
use messenger_core::{BuildError, ClockError, storage::StorageError};
use std::path::PathBuf;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No store has this name.
    #[error(
        "there is no such store in this program; use postgres://HOST/NAME, sqlite:PATH or memory:"
    )]
    Store,
    /// What was asked for is of a store that is kept, and this one ends with its server.
    #[error(
        "this needs a store that is kept; say which: --store sqlite:PATH or postgres://HOST/NAME"
    )]
    NotKept,
    /// A database is not a file to copy.
    #[error(
        "a database is copied by PostgreSQL's own means: pg_basebackup with archived WAL, or pg_dump on a standby; once a copy is in place: messenger-server restored"
    )]
    DatabaseCopy,
    /// A database is not a file to save.
    #[error(
        "a damaged database is PostgreSQL's own affair: pg_amcheck finds what is damaged; once an older copy is in its place: messenger-server restored"
    )]
    DatabaseDamage,
    /// There is nothing at the store's path.
    #[error(
        "there is no store at {}; say where it is (--store sqlite:PATH), or start a server, which makes one",
        path.display()
    )]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An address for TLS without a certificate, or the other way round.
    #[error(
        "--tls-listen (or --wss-listen, or --web-tls-listen), --tls-cert and --tls-key belong together; give all three or none"
    )]
    HalfTls,
    /// It is no address to listen on.
    #[error(
        "give an address and a port, such as 127.0.0.1:7788, [::1]:7788, localhost:7788, or 0.0.0.0:7788 for all addresses"
    )]
    Address,
    /// It is no network of proxies.
    #[error("give networks or addresses, such as 10.0.0.0/8,192.0.2.1")]
    Network,
    /// Whoever authenticates could send less than before.
    #[error("--max-frame-before-auth must not be above --max-frame, which holds afterwards")]
    FrameBeforeAuth,
    /// One frame would not fit into the budget of all.
    #[error(
        "--max-partial-frames must be at least --max-frame, or no large frame could be received"
    )]
    PartialFrameBudget,
    /// One list would not fit into what may wait to be written.
    #[error(
        "--max-outgoing-total must be at least {list} bytes, or no long list of users could be sent"
    )]
    OutgoingBudget {
        /// The most bytes of a list.
        list: usize,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No notifier has this name.
    #[error("there is no such notifier in this program; use nats://HOST or local:")]
    Notifier,
    /// There are other nodes to tell, and they have other stores.
    #[error(
        "--notifier nats:// is for nodes that share a store; say which: --store postgres://HOST/NAME"
    )]
    OwnStore,
    /// The store's database is none, or cannot be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Database(#[from] messenger_postgres::ConnectError),
    /// See [`BuildError`].
    #[cfg(feature = "postgres")]
    #[error("the engine could not be built")]
    Engine(#[from] BuildError),
    /// The database does not answer.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its clock is not this machine's.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// It is not said where NATS is.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    NatsUrl(#[from] messenger_nats::ServersError),
    /// NATS cannot be used.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Nats(#[from] messenger_nats::ConnectError),
    /// The store's file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Open(#[from] messenger_sqlite::OpenError),
    /// The store is not sound.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Check(#[from] messenger_sqlite::CheckError),
    /// The store cannot be backed up.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Backup(#[from] messenger_sqlite::BackupError),
    /// Nothing of the store can be saved.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Salvage(#[from] messenger_sqlite::SalvageError),
}
