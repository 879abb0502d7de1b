//! Saving what can be read of a damaged store.
//!
//! A damaged page takes its rows with it. Each table is read from its beginning until there is one, from its end until
//! there is one, and between the two wherever a key leads behind the damage.

mod table;
mod whole;

use crate::inboxes::Inboxes;
use crate::recent::Recent;
use crate::sql::unsigned;
use crate::{
    OpenError, SalvageError, arrivals, file, format, inboxes, lock, place, store, untouched,
};
use rusqlite::Connection;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use table::Table;
use whole::Whole;

/// Nobody has had more users: a larger number is not what was written.
const MOST_USERS: i64 = 1 << 53;

/// What was saved of a store. Shown, it is a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// By table.
    pub tables: Vec<SalvagedTable>,
}

/// What was saved of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedTable {
    /// The table's name.
    pub name: String,
    /// Rows that are in the new store.
    pub saved: u64,
    /// Rows that are not; `None` when there are some and nothing tells how many. Those of users who are lost count.
    pub lost: Option<u64>,
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:>10} {:>10}", "table", "saved", "lost")?;
        for SalvagedTable { name, saved, lost } in &self.tables {
            let lost = lost.map_or("some".to_owned(), |lost| lost.to_string());
            write!(f, "\n{name:<12} {saved:>10} {lost:>10}")?;
        }
        Ok(())
    }
}

/// Saves what can be read of a damaged store, which no server may use meanwhile, to a new file, a store of its own.
/// What belongs to users who are lost is not saved: it would belong to whoever registers next under that name. The damaged
/// store and its log stay as they are. It blocks for as long as that takes.
///
/// # Errors
/// See [`SalvageError`]. There is no new file then.
pub fn salvage(damaged: &Path, to: &Path) -> Result<Salvaged, SalvageError> {
    let path = place::resolve(damaged)?;
    let _lock = lock::take_if_there(&path)?;
    if to.exists() {
        return Err(SalvageError::Exists {
            path: to.to_owned(),
        });
    }
    let whole = Whole::of(&path, to)?;
    let (old, version) = open_damaged(whole.as_ref().map_or(&path, Whole::path))?;
    file::make_private(to);
    let saved = save(&old, version, to).and_then(|saved| match saved {
        Some(saved) => Ok(saved),
        None => Err(SalvageError::Nothing { path }),
    });
    if saved.is_err() {
        // What is in it is no store.
        let _ = fs::remove_file(to);
    }
    saved
}

/// The damaged store and its version, if so much can be read.
fn open_damaged(path: &Path) -> Result<(Connection, usize), SalvageError> {
    let open = || {
        let failed = |source: rusqlite::Error| OpenError::Sqlite {
            path: path.to_owned(),
            source: source.into(),
        };
        let connection = untouched::open(path).map_err(failed)?;
        format::check(&connection, path)?;
        let version = format::version(&connection).map_err(failed)?;
        Ok((connection, version))
    };
    open().map_err(|error| match error {
        OpenError::Sqlite { source, path } if file::is_damage(&*source) => {
            SalvageError::Nothing { path }
        }
        error => error.into(),
    })
}

/// Nothing, when no user is among it.
fn save(old: &Connection, version: usize, to: &Path) -> Result<Option<Salvaged>, SalvageError> {
    let failed = |source: rusqlite::Error| SalvageError::Write {
        path: to.to_owned(),
        source: source.into(),
    };
    let new = Connection::open(to).map_err(failed)?;
    let saved = copy(old, version, new).map_err(failed)?;
    if format::counts_as_copy(old).map_err(failed)? {
        format::mark_as_copy(to).map_err(failed)?;
    }
    let synced = File::open(to).and_then(|copy| copy.sync_all());
    synced.map_err(|source| SalvageError::Sync {
        path: to.to_owned(),
        source,
    })?;
    Ok(saved)
}

fn copy(
    old: &Connection,
    version: usize,
    mut new: Connection,
) -> rusqlite::Result<Option<Salvaged>> {
    // It is synced when it is whole, and removed otherwise. (But a row that is refused is to leave nothing.)
    new.pragma_update(None, "journal_mode", "MEMORY")?;
    new.pragma_update(None, "synchronous", "OFF")?;
    // As the damaged one is, and only then as stores are now.
    format::upgrade(&mut new, version)?;
    let mut found = Vec::new();
    for table in Table::all(&new)? {
        let transaction = new.transaction()?;
        let rows = table.copy(old, &transaction)?;
        transaction.commit()?;
        found.push((table, rows));
    }
    format::upgrade(&mut new, format::VERSION)?;
    let transaction = new.transaction()?;
    keep_numbering(old, &transaction)?;
    let arrived = settle(
        &transaction,
        found.iter().find(|(table, _)| table.name == "arrivals"),
    )?;
    store::forget_strangers(&transaction)?;
    inboxes::recount(&transaction)?;
    transaction.commit()?;
    let users = "SELECT 1 FROM users";
    if !new.prepare(users)?.exists([])? {
        return Ok(None);
    }
    // Inboxes were counted anew, whatever could be read of them. What had just come are messages now.
    found.retain(|(table, _)| !["arrivals", "inboxes"].contains(&table.name.as_str()));
    for (table, rows) in &mut found {
        if table.name == "messages" {
            *rows = rows.zip(arrived).map(|(rows, arrived)| rows + arrived);
        }
    }
    let saved = found.into_iter().map(|(table, rows)| {
        let saved = table.count(&new)?;
        Ok(SalvagedTable {
            name: table.name,
            saved,
            lost: rows.map(|rows| rows.saturating_sub(saved)),
        })
    });
    let tables = saved.collect::<rusqlite::Result<_>>()?;
    Ok(Some(Salvaged { tables }))
}

/// Moves what had just come to the other messages; how many, if all could be read.
fn settle(
    new: &Connection,
    arrivals: Option<&(Table, Option<u64>)>,
) -> rusqlite::Result<Option<u64>> {
    let Some((table, rows)) = arrivals else {
        return Ok(Some(0));
    };
    let is_whole = *rows == Some(table.count(new)?);
    let unreadable = arrivals::drop_unreadable(new)?;
    let messages = "SELECT count(*) FROM messages";
    let before: u64 = new.query_row(messages, [], |row| row.get(0).map(unsigned))?;
    Inboxes::new(0, Recent::default()).settle(new)?;
    let after = new.query_row(messages, [], |row| row.get(0).map(unsigned))?;
    Ok((is_whole && unreadable == 0).then_some(after - before))
}

/// Users' numbers are not given again, also not those of users who are gone or lost. Damaged ones become new.
fn keep_numbering(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let renumber = "UPDATE users SET number =
                        (SELECT coalesce(max(number), 0) + 1 FROM users WHERE number BETWEEN 1 AND ?1)
                    WHERE number = (SELECT number FROM users WHERE number NOT BETWEEN 1 AND ?1 LIMIT 1)";
    while new.execute(renumber, [MOST_USERS])? > 0 {}
    let newest = "SELECT seq FROM sqlite_sequence WHERE name = 'users'";
    // Where it cannot be read, and in versions that number nobody, those who were saved tell.
    let newest = old.query_row(newest, [], |row| row.get::<_, i64>(0)).ok();
    let newest = newest.filter(|newest| *newest <= MOST_USERS);
    let set =
        "UPDATE sqlite_sequence SET seq = max(?1, (SELECT coalesce(max(number), 0) FROM users))
               WHERE name = 'users'";
    new.execute(set, [newest.unwrap_or(0)]).map(drop)
}
