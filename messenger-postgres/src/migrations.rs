//! The tables and functions, made and brought up to date.

use crate::error::ConnectError;
use crate::identity::{self, NAME};
use crate::row::first_text;
use std::cmp::Ordering;
use tokio_postgres::Client;

/// What each version adds to the one before. Servers of two versions may run side by side, so a version changes nothing
/// that the one before uses: functions get successors, tables get columns that have a default.
const VERSIONS: &[&[&str]] = &[
    &[
        include_str!("sql/schema.sql"),
        include_str!("sql/users.sql"),
        include_str!("sql/contacts.sql"),
        include_str!("sql/inboxes.sql"),
        include_str!("sql/append.sql"),
        include_str!("sql/sessions.sql"),
        include_str!("sql/purge.sql"),
        include_str!("sql/budgets.sql"),
    ],
    &[
        include_str!("sql/advance.sql"),
        include_str!("sql/batches.sql"),
    ],
    &[
        include_str!("sql/steps.sql"),
        include_str!("sql/unchecked.sql"),
    ],
];

/// Brings the database up to date. One server at a time does it; a failed attempt has done nothing.
pub(crate) async fn run(client: &Client) -> Result<(), ConnectError> {
    bring_up_to(VERSIONS, client).await
}

async fn bring_up_to(versions: &[&[&str]], client: &Client) -> Result<(), ConnectError> {
    let begin = "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;
                 SELECT pg_advisory_xact_lock(hashtextextended('messenger migrations', 0))";
    client
        .batch_execute(begin)
        .await
        .map_err(ConnectError::prepare)?;
    let version = version(client).await.map_err(ConnectError::prepare)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = versions.get(done..) else {
        return Err(ConnectError::Newer { version });
    };
    if missing.is_empty() && is_named(client).await.map_err(ConnectError::prepare)? {
        // Whoever writes, if only what is there already, waits for a standby in the end.
        let end = client.batch_execute("ROLLBACK").await;
        return end.map_err(ConnectError::prepare);
    }
    for version in missing {
        for sql in *version {
            client
                .batch_execute(sql)
                .await
                .map_err(ConnectError::prepare)?;
        }
    }
    let version = versions.len();
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

async fn is_named(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let name = client.simple_query(identity::SELECT).await?;
    Ok(first_text(&name).is_some())
}

async fn version(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let is_there = client
        .simple_query("SELECT to_regclass('about') IS NOT NULL")
        .await?;
    if first_text(&is_there) != Some("t") {
        return Ok(0);
    }
    let version = "SELECT value FROM about WHERE name = 'version'";
    let version = client.simple_query(version).await?;
    Ok(first_text(&version)
        .and_then(|version| version.parse().ok())
        .unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PostgresStorage;
    use futures_util::future::join_all;
    use messenger_core::clock::Timestamp;
    use messenger_core::policy::InboxLimits;
    use messenger_core::proto::{Message, UserId};
    use messenger_core::storage::{
        Look, NewMessage, NewSession, Owner, PageLimits, Seen, SessionKey, Storage, Watermark,
    };
    use messenger_core::testing;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use testing_servers::{DEADLINE, Postgres};
    use tokio::time::timeout;

    /// A later version, which makes use of all that it may do.
    const LATER: &str = "
        DO $$
        DECLARE
            one regclass;
        BEGIN
            FOR one IN
                SELECT oid FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            LOOP
                EXECUTE format('ALTER TABLE %s ADD COLUMN later bigint NOT NULL DEFAULT 7', one);
            END LOOP;
        END $$;
        CREATE TABLE later (no bigint PRIMARY KEY);
        CREATE INDEX messages_by_sender ON messages (sender);
        CREATE FUNCTION append_v3(of_lane bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT of_lane $$";

    /// What the program of the later version has.
    fn later(sql: &'static str) -> Vec<&'static [&'static str]> {
        let sql: &'static [&'static str] = Box::leak(Box::new([sql]));
        VERSIONS.iter().copied().chain([sql]).collect()
    }

    fn name(url: &str) -> &str {
        url.rsplit_once('/').unwrap().1
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_keeps_its_promises_on_the_tables_of_a_later_version() {
        let postgres = Postgres::start().await;
        testing::storage::suite(async || {
            let url = postgres.database().await;
            let storage = PostgresStorage::connect(&url).await.unwrap();
            let client = postgres.client(name(&url)).await;
            bring_up_to(&later(LATER), &client).await.unwrap();
            Arc::new(storage) as Arc<dyn Storage>
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn none_is_started_on_them_again() {
        let postgres = Postgres::start().await;
        let url = postgres.database().await;
        let client = postgres.client(name(&url)).await;
        bring_up_to(&later(LATER), &client).await.unwrap();
        let database = url.parse().unwrap();
        let refused = [
            PostgresStorage::open(&database).await.unwrap_err(),
            PostgresStorage::open_beside(&database).await.unwrap_err(),
        ];
        for refused in refused {
            assert_eq!(
                refused.to_string(),
                "the database was made by a later version of this program (its tables have version 4): update this one"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upgrade_that_fails_has_done_nothing() {
        let postgres = Postgres::start().await;
        let url = postgres.database().await;
        drop(PostgresStorage::connect(&url).await.unwrap());
        let client = postgres.client(name(&url)).await;
        let half = "CREATE TABLE later (no bigint); SELECT 1 / 0";
        let failed = bring_up_to(&later(half), &client).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Prepare(_)), "{failed}");
        drop(client);
        let client = postgres.client(name(&url)).await;
        let table = "SELECT to_regclass('later') IS NULL";
        let is_gone: bool = client.query_one(table, &[]).await.unwrap().get(0);
        assert!(is_gone);
        PostgresStorage::connect(&url).await.unwrap();
    }

    /// A user, and how often a round was made.
    struct User {
        owner: Owner,
        key: SessionKey,
        rounds: AtomicUsize,
    }

    /// A message to the user that pushes older ones out, one that does not, and that again; and what a device asks for.
    async fn round(storage: &PostgresStorage, user: &User) {
        let number = user.rounds.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let login = user.owner.user.clone();
        let message = |id: String| {
            let message = Message::new(id.clone(), "sender", login.clone(), 1_700_000_000);
            NewMessage::new(message, now).mid(id)
        };
        let pushing = message(format!("{number} pushes")).limits(InboxLimits::new(1, 1_000));
        let usual = message(format!("{number}"));
        for new in [pushing, usual.clone(), usual] {
            until(async || storage.append(new.clone()).await).await;
        }
        let seen = until(async || {
            let look = Look::new(user.owner.clone(), Some(user.key));
            storage.look(vec![look]).await
        });
        let [Seen::There { newest }] = seen.await[..] else {
            panic!("the session is there");
        };
        let page = PageLimits::new(10, usize::MAX);
        until(async || storage.inbox(&login, newest - 1, page).await).await;
        let mark = Watermark::new(login.clone(), user.key, newest, now);
        until(async || storage.advance(vec![mark.clone()]).await).await;
    }

    /// Asks until it is answered, as whoever is told 22 does.
    async fn until<T, E>(ask: impl AsyncFn() -> Result<T, E>) -> T {
        loop {
            if let Ok(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn service_goes_on_through_an_upgrade() {
        let postgres = Postgres::start().await;
        let url = postgres.database().await;
        let storage = PostgresStorage::connect(&url).await.unwrap();
        let mut users = Vec::new();
        for number in 0..8 {
            let login = UserId::from(format!("user {number}"));
            storage.upsert_external_user(&login, "").await.unwrap();
            let number = storage.user_number(&login).await.unwrap().unwrap();
            let owner = Owner::new(login, number);
            let key = SessionKey([1; 32]);
            let now = Timestamp::from_micros(1_700_000_000_000_000);
            let session = NewSession::new(owner.clone(), key, now);
            storage.open_session(session).await.unwrap();
            let rounds = AtomicUsize::new(0);
            users.push(User { owner, key, rounds });
        }
        let is_over = AtomicBool::new(false);
        let working = join_all(users.iter().map(async |user| {
            while !is_over.load(Ordering::Relaxed) {
                round(&storage, user).await;
            }
        }));
        // Everything was used on every connection before, and is afterwards.
        let more = async |rounds: usize| {
            let before: Vec<_> = users.iter().map(|user| &user.rounds).collect();
            let wanted: Vec<_> = before
                .iter()
                .map(|rounds_of| rounds_of.load(Ordering::Relaxed) + rounds)
                .collect();
            let is_there = || {
                let mut pairs = before.iter().zip(&wanted);
                pairs.all(|(rounds_of, wanted)| rounds_of.load(Ordering::Relaxed) >= *wanted)
            };
            while !is_there() {
                tokio::task::yield_now().await;
            }
        };
        let upgrading = async {
            more(20).await;
            // One that stood in the way of somebody is begun again, as a service manager does.
            loop {
                let client = postgres.client(name(&url)).await;
                if bring_up_to(&later(LATER), &client).await.is_ok() {
                    break;
                }
            }
            more(20).await;
            is_over.store(true, Ordering::Relaxed);
        };
        let both = futures_util::future::join(working, upgrading);
        timeout(DEADLINE, both).await.expect("it goes on");
        for user in &users {
            let rounds = user.rounds.load(Ordering::Relaxed) as u64;
            let newest = storage.newest(&user.owner.user).await.unwrap();
            assert_eq!(newest, 2 * rounds, "each was stored, and once");
        }
    }
}
