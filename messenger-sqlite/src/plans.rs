//! What statements cost in a store that holds a lot: none goes through a table.

use crate::{SqliteStorage, format};
use messenger_core::storage::Storage;
use messenger_core::testing;
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Statements that were carried out.
static STATEMENTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What goes on for as long as there is something, and why it may.
const WHOLE: [(&str, &str); 4] = [
    (
        "FROM arrivals",
        "it holds what has just come, and of that only so much",
    ),
    (
        "FROM sessions LIMIT ?1",
        "it is over after so many, whatever there is",
    ),
    (
        "WHERE oldest <= given_to_all LIMIT 1",
        "the index holds nothing else",
    ),
    ("FROM sqlite_sequence", "a row for each table"),
];

/// Has the connection's statements recorded.
pub(crate) fn record(connection: &mut Connection) -> rusqlite::Result<()> {
    let note = |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event {
            STATEMENTS.lock().unwrap().insert(sql.to_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_goes_through_a_table() {
    let folders = Mutex::new(Vec::new());
    testing::storage::suite(async || {
        let folder = tempfile::tempdir().unwrap();
        let storage = SqliteStorage::open(folder.path().join("messenger.db")).unwrap();
        storage.latest_use().await.unwrap();
        folders.lock().unwrap().push(folder);
        Arc::new(storage) as Arc<dyn Storage>
    })
    .await;
    let mut store = Connection::open_in_memory().unwrap();
    format::upgrade(&mut store, format::VERSION).unwrap();
    let statements = STATEMENTS.lock().unwrap().clone();
    let mut counts = [0; 2];
    for statement in statements.iter().filter(|sql| !is_migration(sql)) {
        let plan = plan(&store, statement);
        // What an inner query has found is no table.
        let is_scan = |step: &&String| {
            let scanned = step.strip_prefix("SCAN ");
            scanned.is_some_and(|what| !what.starts_with('(') && what != "CONSTANT ROW")
        };
        let scan = plan.iter().find(is_scan);
        let is_allowed = WHOLE.iter().any(|(part, _)| statement.contains(part));
        counts[usize::from(is_allowed)] += 1;
        assert!(scan.is_none() || is_allowed, "{statement}\n{plan:?}");
    }
    let [bounded, _] = counts;
    assert!(bounded > 40, "only {bounded} statements were recorded");
}

/// Migrations are carried out once.
fn is_migration(sql: &str) -> bool {
    format::MIGRATIONS
        .iter()
        .any(|migration| migration.contains(sql))
}

fn plan(store: &Connection, sql: &str) -> Vec<String> {
    let is_query = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    if !is_query
        .iter()
        .any(|word| sql.trim_start().starts_with(word))
        || sql.contains("sqlite_schema")
    {
        return Vec::new();
    }
    let mut explain = store.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explain
        .raw_query()
        .mapped(|row| row.get("detail"))
        .collect::<Result<_, _>>();
    steps.unwrap()
}
