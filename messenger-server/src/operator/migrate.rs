//! Moving a store in a file to a database.

use super::CommandError;
use crate::settings::{SettingsError, StoreUrl};
use messenger_core::storage::transfer::{Table, Tally};
use messenger_postgres::TransferTarget;
use messenger_sqlite::{OpenError, TransferSource};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// How often rows may be read ahead of those that are written.
const AHEAD: usize = 2;

/// Moves all that is in the file, and tells of it in a table.
///
/// The file is marked before the database has it: were it the other way round, and this interrupted between the two,
/// a server could be started on either.
pub(super) async fn run(
    from: &StoreUrl,
    to: &StoreUrl,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let (StoreUrl::Sqlite(path), StoreUrl::Postgres(database)) = (from, to) else {
        return Err(CommandError::NoSuchMove);
    };
    let mut source = open(path)?;
    let mark = source.mark().map_err(SettingsError::from)?;
    let Some(target) = TransferTarget::begin(database, mark.as_deref()).await? else {
        writeln!(out, "{} was moved to {database} before", path.display())?;
        return Ok(());
    };
    for &table in Table::ALL {
        let read;
        (source, read) = write(source, &target, table).await?;
        if target.tally(table).await? != read {
            let table = table.to_string();
            return Err(CommandError::Differs { table });
        }
        writeln!(out, "{table:<16}{read}")?;
    }
    let facts = source.facts().map_err(SettingsError::from)?;
    let mark = source.mark_moved().map_err(SettingsError::from)?;
    target.finish(&facts, &mark).await?;
    let path = path.display();
    writeln!(
        out,
        "moved {path} to {database}: how many there are of each, and a checksum of them, as read from the file and again from the database"
    )?;
    writeln!(
        out,
        "a server may be started on the database; none will be on {path} any more"
    )?;
    Ok(())
}

fn open(path: &Path) -> Result<TransferSource, SettingsError> {
    if !path.exists() {
        let path = path.to_owned();
        return Err(SettingsError::NoStore { path });
    }
    Ok(TransferSource::open(path)?)
}

/// Writes a table, and tells what was read of it.
async fn write(
    source: TransferSource,
    target: &TransferTarget,
    table: Table,
) -> Result<(TransferSource, Tally), CommandError> {
    let (read, mut to_write) = mpsc::channel(AHEAD);
    // It stops when nobody writes any more.
    let reading = spawn_blocking(move || -> Result<_, OpenError> {
        source.read(table, |rows| match read.blocking_send(rows) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })?;
        Ok(source)
    });
    let mut tally = Tally::default();
    while let Some(rows) = to_write.recv().await {
        rows.iter().for_each(|row| tally.add(row));
        target.write(table, &rows).await?;
    }
    let source = reading.await.map_err(io::Error::other)?;
    Ok((source.map_err(SettingsError::from)?, tally))
}
