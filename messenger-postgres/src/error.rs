//! Why a database is no store, and why a call failed.

use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why a store was not opened. Its sentences tell an operator what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no address of a database.
    #[error(
        "that is no address of a PostgreSQL database, such as postgres://user:password@host/name"
    )]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The certificates of the authorities that are to be trusted cannot be read.
    #[error("{} holds no certificates in PEM format that could be trusted", path.display())]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no connection to the database.
    #[error(
        "cannot connect to the PostgreSQL database: is it running, and are host, user and password right?"
    )]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database might lose what it has stored.
    #[error(
        "the PostgreSQL setting {setting} is {value}, with which messages can be lost or spoilt: set it to {needed}"
    )]
    Unsafe {
        /// Which setting.
        setting: String,
        /// What it is.
        value: String,
        /// What it has to be.
        needed: String,
    },
    /// A pooler lets no connection ask for a setting, and it is not set for the user.
    #[error(
        "the pooler in front of the PostgreSQL database lets no connection set {setting}: set it for the user (ALTER ROLE … SET {setting} = '{needed}')"
    )]
    NotSet {
        /// Which setting.
        setting: &'static str,
        /// What it has to be.
        needed: &'static str,
    },
    /// A later version of this program has made the tables.
    #[error(
        "the database was made by a later version of this program (its tables have version {version}): update this one"
    )]
    Newer {
        /// The version of the tables.
        version: i64,
    },
    /// An earlier version of this program has made the tables, and no server of this one has been started.
    #[error(
        "the database was made by an earlier version of this program (its tables have version {version}): a server of this version brings it up to date when it starts"
    )]
    Older {
        /// The version of the tables.
        version: i64,
    },
    /// There are no tables.
    #[error(
        "the PostgreSQL database has no tables of this program: is it the right one? A server that is started on it makes them"
    )]
    NoTables,
    /// The tables could not be made or read.
    #[error("the PostgreSQL database cannot be prepared: may its user create tables?")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ConnectError {
    pub(crate) fn connect(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Connect(cause.into())
    }

    pub(crate) fn prepare(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Prepare(cause.into())
    }
}

/// Why a store was not moved into a database. Its sentences tell an operator what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// No server could use the database either.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There are users already.
    #[error("there are users in the database already: give an empty one")]
    NotEmpty,
    /// A server is connected to it.
    #[error("a server uses the database: stop all that do, and start them again afterwards")]
    InUse,
    /// The database has failed.
    #[error("the database has failed; do the same again, which goes on or begins anew")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TransferError {
    pub(crate) fn failed(cause: tokio_postgres::Error) -> Self {
        Self::Failed(cause.into())
    }
}

/// Why a call failed that PostgreSQL has not refused itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the PostgreSQL database has not answered within {0:?}")]
    Silent(Duration),
    #[error("there has been no connection to the PostgreSQL database for {0:?}")]
    Unreachable(Duration),
    #[error("another has locked the recipient's inbox in the PostgreSQL database")]
    Locked,
    #[error("too many calls wait for the PostgreSQL database")]
    TooMany,
}

/// What is known of a call that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It was not done, and would not be done the next time either.
    ForGood,
    /// It was not done, and may be the next time.
    ThisTime,
    /// It may have been done, or not: the connection is of no use any more.
    Unknown,
}

impl Failed {
    pub(crate) fn by(error: &tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // The others are about what was to be sent, or what came back of a call that was done.
            return match error.is_closed() || is_io(error) {
                true => Self::Unknown,
                false => Self::ForGood,
            };
        };
        match *state {
            SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::LOCK_NOT_AVAILABLE
            | SqlState::QUERY_CANCELED => Self::ThisTime,
            // A standby: the server that can write is another one now.
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unknown,
            _ if state.code().starts_with("57P") || state.code().starts_with("08") => Self::Unknown,
            _ => Self::ForGood,
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<std::io::Error>() {
            return true;
        }
        source = error.source();
    }
    false
}
