//! What a statement gives.

use crate::text::unescape;
use messenger_core::clock::Timestamp;
use messenger_core::storage::{SessionKey, StorageError};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Row, SimpleQueryMessage};

/// Reads a row's columns, of which the first is 0.
pub(crate) trait Columns {
    fn value<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, StorageError>;

    fn text(&self, column: usize) -> Result<String, StorageError> {
        self.value(column).map(unescape)
    }

    /// A number, which this store never makes negative.
    fn number(&self, column: usize) -> Result<u64, StorageError> {
        self.value(column).map(unsigned)
    }

    fn time(&self, column: usize) -> Result<Timestamp, StorageError> {
        self.number(column).map(Timestamp::from_micros)
    }

    fn session_key(&self, column: usize) -> Result<SessionKey, StorageError> {
        session_key(self.value(column)?)
    }
}

impl Columns for Row {
    fn value<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, StorageError> {
        self.try_get(column).map_err(StorageError::new)
    }
}

pub(crate) fn session_key(bytes: &[u8]) -> Result<SessionKey, StorageError> {
    bytes.try_into().map(SessionKey).map_err(StorageError::new)
}

/// A number, which this store never makes negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// The first column of the first row that a simple query gives.
pub(crate) fn first_text(answer: &[SimpleQueryMessage]) -> Option<&str> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}
