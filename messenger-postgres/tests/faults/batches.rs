//! A batch that comes again, or too late, as from a connection that was given up and gets through after all.

use crate::{add_users, bodies, count, message, send};
use messenger_postgres::PostgresStorage;
use testing_servers::Postgres;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How servers of each version have a message to ann sent as this batch of a lane.
const APPEND: [&str; 2] = [
    "SELECT bases[1] + 1 FROM append_v1(
        $1, $2, 0, false, '{ann}', '{1}', '{4}', '{1700000000}', '{100}', '{1000}', '{}', '{1}', '{1}',
        '{NULL}', '{zombie}', '{nick}', '{id}', '{1700000000}', '{text}', '{\"\"}', '{\"\"}', '{4}', '{}', '{}', '{}', '{}')",
    "SELECT bases[1] + 1 FROM append_v2(
        $1, $2, 0, '{ann}', '{1, 4, 1700000000, 100, 1000}', '{}', '{1, 1, 0, 4, 1700000000, 0, 0}',
        '{zombie, nick, id, text, \"\", \"\"}', '{}', '{}')",
];

/// Has it sent by a server of this version.
async fn come(
    client: &Client,
    append: &str,
    lane: i64,
    batch: i64,
) -> Result<i64, tokio_postgres::Error> {
    let row = client.query_one(append, &[&lane, &batch]).await?;
    Ok(row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_once_and_one_that_is_too_late_never() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    add_users(&storage, &["ann"]).await;
    for body in ["1", "2", "3"] {
        send(&storage, message("bob", "ann", body)).await;
    }
    let client = postgres.client("messenger0").await;
    let last = client.query_one("SELECT lane, batch FROM lanes", &[]).await;
    let last = last.unwrap();
    let (lane, batch): (i64, i64) = (last.get(0), last.get(1));
    for append in APPEND {
        // The last one is told what it came to, whatever is said now.
        assert_eq!(come(&client, append, lane, batch).await.unwrap(), 3);
        assert_eq!(count(&client).await, 3);
        // Those before were stored, or given up.
        for earlier in 1..batch {
            let late = come(&client, append, lane, earlier).await.unwrap_err();
            assert_eq!(late.code(), Some(&SqlState::from_code("MSG02")), "{late}");
        }
    }
    assert_eq!(bodies(&storage, "ann").await, ["1", "2", "3"]);
    // Another lane's are its own.
    for (append, batch, seq) in [(APPEND[0], batch, 4), (APPEND[1], batch + 1, 5)] {
        let other = come(&client, append, lane ^ 1, batch).await.unwrap();
        assert_eq!(other, seq);
        let again = come(&client, APPEND[1], lane ^ 1, batch).await.unwrap();
        assert_eq!(again, seq);
    }
    send(&storage, message("bob", "ann", "6")).await;
    let all = ["1", "2", "3", "text", "text", "6"];
    assert_eq!(bodies(&storage, "ann").await, all);
}
