//! Moving a store elsewhere: all that is in it, row by row.

use crate::inboxes::Inboxes;
use crate::lock::Lock;
use crate::recent::Recent;
use crate::{OpenError, file, moved, place, restored};
use messenger_core::storage::transfer::{Facts, Row, Table, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The most rows that are read at once.
const ROWS: usize = 512;

/// No more rows are read at once when they take so many bytes.
const BYTES: usize = 1024 * 1024;

/// A store that is moved elsewhere. No server can be started on it meanwhile, nor once it is marked as moved.
#[derive(Debug)]
pub struct TransferSource {
    path: PathBuf,
    connection: Connection,
    _lock: Lock,
}

impl TransferSource {
    /// Opens the store and brings it up to date, as a server's start does. It blocks for as long as that takes.
    ///
    /// # Errors
    /// There is none, a server uses it, or it cannot be opened; see [`OpenError`].
    pub fn open(store: &Path) -> Result<Self, OpenError> {
        let path = place::resolve(store)?;
        // Or one would be made.
        drop(file::open_for_copying(&path)?);
        let lock = Lock::take(&path)?;
        let connection = file::open_even_if_moved(&path, false)?;
        let source = Self {
            path,
            connection,
            _lock: lock,
        };
        source.settle().map_err(|error| source.failed(error))?;
        Ok(source)
    }

    /// What had just come when the store was used last gets its place among the other messages.
    fn settle(&self) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        Inboxes::new(0, Recent::default()).settle(&transaction)?;
        transaction.commit()
    }

    /// By what the move is known, if the store was marked as moved.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn mark(&self) -> Result<Option<String>, OpenError> {
        moved::mark_of(&self.connection).map_err(|error| self.failed(error))
    }

    /// Marks the store as moved, so that no server is started on it any more, and says by what the move is known: the
    /// same whenever it is asked.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn mark_moved(&self) -> Result<String, OpenError> {
        moved::mark(&self.connection).map_err(|error| self.failed(error))
    }

    /// What is kept beside the tables.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn facts(&self) -> Result<Facts, OpenError> {
        let read = || {
            let given = "SELECT seq FROM sqlite_sequence WHERE name = 'users'";
            let given = self.connection.query_row(given, [], |row| row.get(0));
            let rule = "SELECT value FROM about WHERE name = 'address rule'";
            let rule = self.connection.query_row(rule, [], |row| row.get(0));
            let mut facts = Facts::default();
            facts.users_given = given.optional()?.unwrap_or(0);
            facts.lost_up_to = restored::lost_up_to(&self.connection)?;
            facts.address_rule = rule.optional()?;
            Ok(facts)
        };
        read().map_err(|error| self.failed(error))
    }

    /// Reads a table: `take` is given its rows, some hundreds at once and no more than a MiB, or one behind that which is
    /// large. It ends when `take` says so.
    ///
    /// What nobody would find is left out: what belongs to no user, and each `mid` that was used before version 3, which
    /// does not say for what.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(
        &self,
        table: Table,
        mut take: impl FnMut(Vec<Row>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        let failed = |error| self.failed(error);
        let mut select = self.connection.prepare(select(table)).map_err(failed)?;
        let columns = select.column_count();
        let mut found = select.query([]).map_err(failed)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next().map_err(failed)? {
            let row: rusqlite::Result<Row> = (0..columns).map(|n| value(row.get_ref(n)?)).collect();
            let row = row.map_err(failed)?;
            bytes += row.iter().map(Value::size).sum::<usize>();
            rows.push(row);
            if rows.len() >= ROWS || bytes >= BYTES {
                if take(std::mem::take(&mut rows)).is_break() {
                    return Ok(());
                }
                bytes = 0;
            }
        }
        if !rows.is_empty() {
            let _ = take(rows);
        }
        Ok(())
    }

    fn failed(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Sqlite {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

fn value(found: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match found {
        ValueRef::Null => Value::Nothing,
        ValueRef::Integer(number) => Value::Number(number),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // Tables hold no other numbers.
        ValueRef::Real(_) | ValueRef::Text(_) => Value::Text(found.as_str()?.to_owned()),
    })
}

fn select(table: Table) -> &'static str {
    match table {
        Table::Users => {
            "SELECT number, login, nick, pass_hash, email, phone, user_status, email_key, phone_key, picture,
                 skeleton, ephemeral_ended
             FROM users ORDER BY number"
        }
        Table::Contacts => {
            "SELECT c.number, o.number, u.number FROM contacts c
             JOIN users o ON o.login = c.owner JOIN users u ON u.login = c.contact ORDER BY c.number"
        }
        Table::Remembered => {
            "SELECT o.number, u.number, m.myid FROM myids m
             JOIN users o ON o.login = m.owner JOIN users u ON u.login = m.user"
        }
        // Counted anew. A user has one from the beginning.
        Table::Inboxes => {
            "SELECT u.number, max(coalesce(i.newest, 0), coalesce(max(m.seq), 0)), coalesce(i.given, 0),
                 count(m.seq), coalesce(sum(m.size), 0),
                 count(m.seq) FILTER (WHERE m.seq > coalesce(i.given, 0)),
                 coalesce(sum(m.size) FILTER (WHERE m.seq > coalesce(i.given, 0)), 0), min(m.time)
             FROM users u LEFT JOIN inboxes i ON i.user = u.login LEFT JOIN messages m ON m.recipient = u.login
             GROUP BY u.number"
        }
        Table::Sessions => {
            "SELECT u.number, s.key, s.given, s.ack, s.used_us FROM sessions s JOIN users u ON u.login = s.user"
        }
        Table::Messages => {
            "SELECT u.number, m.seq, m.size, m.time, m.id, m.sender, m.nick, m.body, m.mime, m.attachment
             FROM messages m JOIN users u ON u.login = m.recipient ORDER BY m.number"
        }
        // Senders who are no users are not told from each other: of their `mid`s the last counts.
        Table::Mids => {
            "SELECT u.number, coalesce(s.number, 0) AS sender_number, m.mid, m.digest, max(m.used_us), m.id, m.time
             FROM mids m JOIN users u ON u.login = m.recipient LEFT JOIN users s ON s.login = m.sender
             WHERE m.digest IS NOT NULL GROUP BY u.number, sender_number, m.mid"
        }
    }
}
