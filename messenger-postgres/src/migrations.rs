//! The tables and functions, made and brought up to date.

use crate::error::ConnectError;
use crate::identity::NAME;
use std::cmp::Ordering;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What each version adds to the one before. Functions that have been published do not change, because servers of two
/// versions may run side by side: they get a successor.
const VERSIONS: &[&[&str]] = &[&[
    include_str!("sql/schema.sql"),
    include_str!("sql/users.sql"),
    include_str!("sql/contacts.sql"),
    include_str!("sql/inboxes.sql"),
    include_str!("sql/append.sql"),
    include_str!("sql/sessions.sql"),
    include_str!("sql/purge.sql"),
    include_str!("sql/budgets.sql"),
]];

/// Brings the database up to date. One server at a time does it; a failed attempt has done nothing.
pub(crate) async fn run(client: &Client) -> Result<(), ConnectError> {
    let begin = "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
                 SELECT pg_advisory_xact_lock(hashtextextended('messenger migrations', 0))";
    client
        .batch_execute(begin)
        .await
        .map_err(ConnectError::prepare)?;
    let version = version(client).await.map_err(ConnectError::prepare)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = VERSIONS.get(done..) else {
        return Err(ConnectError::Newer { version });
    };
    for sql in missing.iter().copied().flatten() {
        client
            .batch_execute(sql)
            .await
            .map_err(ConnectError::prepare)?;
    }
    let version = VERSIONS.len();
    let end = format!(
        "INSERT INTO about (name, value) VALUES ('version', '{version}')
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE about.value <> excluded.value;
         {NAME};
         COMMIT"
    );
    client
        .batch_execute(&end)
        .await
        .map_err(ConnectError::prepare)
}

/// Whether the tables are there and those of this version; nothing is changed.
pub(crate) async fn check(client: &Client) -> Result<(), ConnectError> {
    let found = version(client).await.map_err(ConnectError::prepare)?;
    let own = i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX);
    match found.cmp(&own) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(ConnectError::Newer { version: found }),
        Ordering::Less if found == 0 => Err(ConnectError::NoTables),
        Ordering::Less => Err(ConnectError::Older { version: found }),
    }
}

async fn version(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let is_there = client
        .simple_query("SELECT to_regclass('about') IS NOT NULL")
        .await?;
    if text(&is_there) != Some("t") {
        return Ok(0);
    }
    let version = "SELECT value FROM about WHERE name = 'version'";
    let version = client.simple_query(version).await?;
    Ok(text(&version)
        .and_then(|version| version.parse().ok())
        .unwrap_or(0))
}

/// The first column of the first row.
pub(crate) fn text(answer: &[SimpleQueryMessage]) -> Option<&str> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}
