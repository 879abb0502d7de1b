//! The format of a store's file: its marks and its version, and what makes a store one of the next version.

use crate::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Marks a SQLite file as a messenger store ("msgr").
pub(crate) const APPLICATION: i64 = 0x6d73_6772;

/// Marks a copy on which no server was started yet ("msgc"). Its numbers are those of the store it was made of.
const COPY: i64 = 0x6d73_6763;

/// What turns each format into the next; the first makes an empty file a store.
pub(crate) const MIGRATIONS: [&str; 8] = [
    include_str!("schema.sql"),
    include_str!("about.sql"),
    include_str!("mids.sql"),
    include_str!("numbers.sql"),
    include_str!("deletion.sql"),
    include_str!("skeletons.sql"),
    include_str!("ephemeral.sql"),
    include_str!("arrivals.sql"),
];

/// The version of a store that is up to date.
pub(crate) const VERSION: usize = MIGRATIONS.len();

/// Makes a store that of a later version.
pub(crate) fn upgrade(connection: &mut Connection, to: usize) -> rusqlite::Result<()> {
    let done = version(connection)?;
    for (number, migration) in (1_i64..).zip(MIGRATIONS).take(to).skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        if number == 1 {
            transaction.pragma_update(None, "application_id", APPLICATION)?;
        }
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The version of a store; 0 of none.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    Ok(usize::try_from(user_version(connection)?).unwrap_or(0))
}

/// The same as it stands in the file, whatever that is.
pub(crate) fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    number(connection, "user_version")
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Refuses a file that is no store, or one of a later version.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |pragma| {
        let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map_err(|source| OpenError::Sqlite {
            path: path.to_owned(),
            source: source.into(),
        })
    };
    let (application, found) = (number("application_id")?, number("user_version")?);
    let tables = number("schema_version")?;
    let is_unmarked = tables != 0 && (found == 0 || application == 0);
    if is_unmarked && has_our_tables(connection) {
        return Err(OpenError::Unmarked {
            path: path.to_owned(),
            application: APPLICATION,
            version: VERSION,
        });
    }
    if ![APPLICATION, COPY].contains(&application) && (application != 0 || tables != 0) {
        return Err(OpenError::NotOurs {
            path: path.to_owned(),
        });
    }
    let known = i64::try_from(VERSION).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
}

/// True also of a store whose marks were lost.
fn has_our_tables(connection: &Connection) -> bool {
    let count = "SELECT count(*) FROM sqlite_schema
                 WHERE type = 'table' AND name IN ('users', 'sessions', 'inboxes', 'messages')";
    let count = connection.query_row(count, [], |row| row.get::<_, i64>(0));
    count.is_ok_and(|count| count == 4)
}

/// Says of a copy that it is one, until a server is started on it.
pub(crate) fn mark_as_copy(path: &Path) -> rusqlite::Result<()> {
    let copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    copy.pragma_update(None, "application_id", COPY)
}

/// As [`is_copy`], of a file that SQLite has opened.
pub(crate) fn counts_as_copy(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "application_id")? == COPY)
}

/// True of a copy on which no server was started yet. It is read from the file as it is, without what lies beside it.
pub(crate) fn is_copy(path: &Path) -> rusqlite::Result<bool> {
    counts_as_copy(&open_alone(path)?)
}

/// A connection that reads the file as it is, without its log, and makes nothing beside it. (SQLite does that: were the
/// file opened and closed beside it, the locks of all its connections in this process would be gone.)
pub(crate) fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    let mut name = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                name.push(char::from(*byte));
            }
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(name, flags)
}
