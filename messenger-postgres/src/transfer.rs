//! Moving a store of another kind into a database: all of it in one transaction.

mod shape;

use crate::database::Database;
use crate::error::{ConnectError, TransferError};
use crate::link::{Open, Servers};
use crate::row::first_text;
use crate::text::{escape, unescape};
use crate::{migrations, safety};
use futures_util::{StreamExt, pin_mut};
use messenger_core::lookalikes;
use messenger_core::storage::transfer::{Facts, Row, Table, Tally, Value};
use shape::{Kind, Shape};
use std::fmt;
use tokio_postgres::types::{ToSql, Type};

/// Whoever begins waits so long for a server that is making the tables, or for a transfer that was cut off.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = 0";

/// A server that starts meanwhile waits until all is there: it begins with the same lock. Users are not noted as
/// [unchecked](crate::computed), since whoever has read the rows has seen to what is computed of them.
const KEEP_OUT: &str = "SELECT pg_advisory_xact_lock(hashtextextended('messenger migrations', 0));
    LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
    ALTER TABLE users DISABLE TRIGGER note_created";

/// From now on they are.
const NOTE_AGAIN: &str = "ALTER TABLE users ENABLE TRIGGER note_created";

/// Servers that are on the database already.
const SERVERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'messenger' AND pid <> pg_backend_pid()";

/// A database into which a store is moved. Until that is [finished](Self::finish) nothing of it is there for others, and
/// when this is dropped, or the process killed, nothing has happened.
pub struct TransferTarget {
    open: Open,
}

impl fmt::Debug for TransferTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransferTarget").finish_non_exhaustive()
    }
}

impl TransferTarget {
    /// Begins, and keeps servers out of the database until it ends. `None` when the store that has this mark was moved
    /// there before.
    ///
    /// # Errors
    /// The database cannot be used by a server, one uses it, or there are users in it; see [`TransferError`].
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing has begun, but the tables may have been made. Servers may be kept out for another
    /// half a minute, until the database notices.
    pub async fn begin(
        database: &Database,
        mark: Option<&str>,
    ) -> Result<Option<Self>, TransferError> {
        let servers = Servers::of(database)?;
        let open = servers.connect().await.map_err(ConnectError::connect)?;
        safety::check(&open.client).await?;
        migrations::run(&open.client).await?;
        let target = Self { open };
        target.execute(BEGIN).await?;
        target.execute(KEEP_OUT).await?;
        let moved = "SELECT value FROM about WHERE name = 'moved from'";
        if mark.is_some() && target.ask(moved).await?.as_deref() == mark {
            return Ok(None);
        }
        if target
            .ask("SELECT 'some' FROM users LIMIT 1")
            .await?
            .is_some()
        {
            return Err(TransferError::NotEmpty);
        }
        match target.ask(SERVERS).await?.as_deref() {
            None | Some("0") => Ok(Some(target)),
            Some(_) => Err(TransferError::InUse),
        }
    }

    /// Writes rows of a table.
    ///
    /// # Errors
    /// They cannot be written: then nothing was moved.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether these rows were written. Drop the target then, and begin again.
    pub async fn write(&self, table: Table, rows: &[Row]) -> Result<(), TransferError> {
        let shape = Shape::of(table);
        let columns = shape.kinds.iter().enumerate();
        let columns: Vec<_> = columns.map(|(n, kind)| column(*kind, n, rows)).collect();
        let params: Vec<(&(dyn ToSql + Sync), Type)> = columns
            .iter()
            .map(|(values, kind)| (&**values as &(dyn ToSql + Sync), kind.clone()))
            .collect();
        let written = self.open.client.query_typed(shape.insert, &params).await;
        written.map(drop).map_err(TransferError::failed)
    }

    /// Reads a table again.
    ///
    /// # Errors
    /// It cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn tally(&self, table: Table) -> Result<Tally, TransferError> {
        let shape = Shape::of(table);
        let none: [(&(dyn ToSql + Sync), Type); 0] = [];
        let rows = self.open.client.query_typed_raw(shape.select, none).await;
        let rows = rows.map_err(TransferError::failed)?;
        pin_mut!(rows);
        let mut tally = Tally::default();
        while let Some(row) = rows.next().await {
            let row = row.map_err(TransferError::failed)?;
            let values = shape.kinds.iter().enumerate();
            let values: Result<Row, _> = values.map(|(n, kind)| value(*kind, &row, n)).collect();
            tally.add(&values.map_err(TransferError::failed)?);
        }
        Ok(tally)
    }

    /// Writes what there is beside the tables, and makes all of it be there for servers. The store that it was has this
    /// mark.
    ///
    /// # Errors
    /// It may be there or not: whoever begins again with the same mark is told.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may be there or not, as after an error.
    pub async fn finish(self, facts: &Facts, mark: &str) -> Result<(), TransferError> {
        let set = "SELECT setval(pg_get_serial_sequence('users', 'no'), greatest($1, 1), $1 > 0),
            setval(pg_get_serial_sequence('contacts', 'number'), coalesce(max(number), 1), max(number) IS NOT NULL)
            FROM contacts";
        let given: [(&(dyn ToSql + Sync), Type); 1] = [(&facts.users_given, Type::INT8)];
        let set = self.open.client.query_typed(set, &given).await;
        set.map_err(TransferError::failed)?;
        self.note("moved from", mark).await?;
        self.note("skeletons", &lookalikes::version()).await?;
        self.execute(NOTE_AGAIN).await?;
        if facts.lost_up_to > 0 {
            let number = facts.lost_up_to.to_string();
            self.note("lost up to", &number).await?;
        }
        if let Some(rule) = &facts.address_rule {
            self.note("address rule", rule).await?;
        }
        self.execute("COMMIT").await?;
        // Or the first queries would be planned as if there were nothing; it would be done by itself a little later.
        let _ = self.open.client.batch_execute("ANALYZE").await;
        Ok(())
    }

    async fn note(&self, name: &str, value: &str) -> Result<(), TransferError> {
        let insert = "INSERT INTO about (name, value) VALUES ($1, $2)
                      ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&value, Type::TEXT)];
        let noted = self.open.client.query_typed(insert, &params).await;
        noted.map(drop).map_err(TransferError::failed)
    }

    async fn execute(&self, sql: &str) -> Result<(), TransferError> {
        let done = self.open.client.batch_execute(sql).await;
        done.map_err(TransferError::failed)
    }

    /// The first column of the first row, if there is any.
    async fn ask(&self, sql: &str) -> Result<Option<String>, TransferError> {
        let answer = self.open.client.simple_query(sql).await;
        let answer = answer.map_err(TransferError::failed)?;
        Ok(first_text(&answer).map(str::to_owned))
    }
}

/// A column of these rows, as an array for PostgreSQL.
fn column(kind: Kind, n: usize, rows: &[Row]) -> (Box<dyn ToSql + Send + Sync + '_>, Type) {
    let values = rows.iter().map(move |row| row.get(n));
    match kind {
        Kind::Number => {
            let numbers = values.map(|value| match value {
                Some(Value::Number(number)) => Some(*number),
                _ => None,
            });
            (Box::new(numbers.collect::<Vec<_>>()), Type::INT8_ARRAY)
        }
        Kind::Text => {
            let texts = values.map(|value| match value {
                Some(Value::Text(text)) => Some(escape(text)),
                _ => None,
            });
            (Box::new(texts.collect::<Vec<_>>()), Type::TEXT_ARRAY)
        }
        Kind::Bytes => {
            let bytes = values.map(|value| match value {
                Some(Value::Bytes(bytes)) => Some(&bytes[..]),
                _ => None,
            });
            (Box::new(bytes.collect::<Vec<_>>()), Type::BYTEA_ARRAY)
        }
    }
}

fn value(kind: Kind, row: &tokio_postgres::Row, n: usize) -> Result<Value, tokio_postgres::Error> {
    let value = match kind {
        Kind::Number => row.try_get::<_, Option<i64>>(n)?.map(Value::Number),
        Kind::Text => {
            let text = row.try_get::<_, Option<String>>(n)?;
            text.map(unescape).map(Value::Text)
        }
        Kind::Bytes => row.try_get::<_, Option<Vec<u8>>>(n)?.map(Value::Bytes),
    };
    Ok(value.unwrap_or(Value::Nothing))
}
