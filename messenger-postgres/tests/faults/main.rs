//! Whatever happens to the database and to the way there: what was answered is there once, and nobody waits for ever.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod answers;
mod batches;
mod locks;
mod losses;
mod silence;
mod standby;

use messenger_core::clock::Timestamp;
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{AppendError, Appended, NewMessage, PageLimits, Storage};
use messenger_postgres::PostgresStorage;
use testing_servers::DEADLINE;
use tokio::time::timeout;
use tokio_postgres::Client;

const ALL: PageLimits = PageLimits::new(usize::MAX, usize::MAX);

fn message(from: &str, to: &str, body: &str) -> NewMessage {
    let message = Message::new(format!("id of {body}"), from, to, 1_700_000_000).body(body);
    NewMessage::new(message, Timestamp::from_micros(1_700_000_000_000_000)).mid(body)
}

/// Sends until it is known that the message is there, as a client does: under the same `mid`.
async fn send(storage: &PostgresStorage, new: NewMessage) -> Appended {
    let sending = async {
        loop {
            match storage.append(new.clone()).await {
                Ok(appended) => return appended,
                Err(AppendError::Storage(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(DEADLINE, sending).await.expect("service is back")
}

/// The bodies in an inbox, whose numbers must have no gap.
async fn bodies(storage: &PostgresStorage, user: &str) -> Vec<String> {
    let inbox = storage.inbox(&user.into(), 0, ALL).await.unwrap();
    let places = inbox.iter().map(|(seq, _)| *seq);
    assert!(places.eq(1..=inbox.len() as u64), "a gap in {user}'s inbox");
    let bodies = inbox.into_iter();
    bodies
        .map(|(_, message)| message.body.as_str().to_owned())
        .collect()
}

async fn add_users(storage: &PostgresStorage, users: &[&str]) {
    for user in users {
        let uid = UserId::from(*user);
        storage.upsert_external_user(&uid, user).await.unwrap();
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, reached).await.expect("is reached");
}

async fn count(client: &Client) -> i64 {
    let row = client.query_one("SELECT count(*) FROM messages", &[]);
    row.await.unwrap().get(0)
}
