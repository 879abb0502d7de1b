//! The store keeps the promises of every store, in a real PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_core::clock::{Clock, SystemClock, Timestamp};
use messenger_core::policy::{InboxLimits, Rate};
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{
    Appended, Expiry, Look, MemoryStorage, NewMessage, NewSession, Owner, PageLimits, Seen,
    SessionKey, SharedLimit, Storage, Watermark,
};
use messenger_core::testing;
use messenger_postgres::{ConnectError, PostgresStorage};
use std::sync::Arc;
use std::time::Duration;
use testing_servers::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let postgres = Postgres::start().await;
    testing::storage::suite(async || {
        let url = postgres.database().await;
        Arc::new(PostgresStorage::connect(&url).await.unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn may_be_opened_in_a_task() {
    let opening = tokio::spawn(async { PostgresStorage::connect("no url").await.map(drop) });
    let opened = opening.await.unwrap();
    assert!(matches!(opened, Err(ConnectError::Url(_))), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_was_answered() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    testing::storage::durability(async || {
        Arc::new(PostgresStorage::connect(&url).await.unwrap()) as Arc<dyn Storage>
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_store_is_refused_with_a_sentence() {
    let no_address = PostgresStorage::connect("messenger.db").await.unwrap_err();
    assert!(matches!(no_address, ConnectError::Url(_)), "{no_address}");
    let nobody = PostgresStorage::connect("postgres://nobody@%2Fnowhere/x")
        .await
        .unwrap_err();
    assert!(matches!(nobody, ConnectError::Connect(_)), "{nobody}");

    for (setting, sentence) in [
        ("fsync=off", "the PostgreSQL setting fsync is off"),
        (
            "full_page_writes=off",
            "the PostgreSQL setting full_page_writes is off",
        ),
        (
            "synchronous_commit=off",
            "the PostgreSQL setting synchronous_commit is off",
        ),
    ] {
        let postgres = Postgres::start_with(&[setting]).await;
        let refused = PostgresStorage::connect(&postgres.url("postgres"))
            .await
            .unwrap_err();
        assert!(refused.to_string().starts_with(sentence), "{refused}");
    }

    let postgres = Postgres::start().await;
    let client = postgres.client("postgres").await;
    let latin = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    client.batch_execute(latin).await.unwrap();
    let refused = PostgresStorage::connect(&postgres.url("latin"))
        .await
        .unwrap_err();
    assert!(matches!(refused, ConnectError::Unsafe { .. }), "{refused}");

    let url = postgres.database().await;
    drop(PostgresStorage::connect(&url).await.unwrap());
    let client = postgres.client("messenger0").await;
    let later = "UPDATE about SET value = '99' WHERE name = 'version'";
    client.batch_execute(later).await.unwrap();
    let newer = PostgresStorage::connect(&url).await.unwrap_err();
    assert!(
        matches!(newer, ConnectError::Newer { version: 99 }),
        "{newer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_a_restored_copy_go_on_behind_all_that_were_given() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let ann = UserId::from("ann");
    let append = async |storage: &PostgresStorage| {
        let message = Message::new("id", "bob", "ann", 1_700_000_000).body("text");
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let appended = storage.append(NewMessage::new(message, now)).await;
        appended.unwrap().seq().unwrap()
    };
    let storage = PostgresStorage::connect(&url).await.unwrap();
    assert_eq!(storage.lost_up_to(), 0);
    storage.upsert_external_user(&ann, "Ann").await.unwrap();
    assert_eq!(append(&storage).await, 1);
    drop(storage);
    messenger_postgres::mark_restored(&url.parse().unwrap())
        .await
        .unwrap();
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let lost_up_to = storage.lost_up_to();
    assert!(lost_up_to > 1_700_000_000_000_000, "{lost_up_to}");
    assert_eq!(append(&storage).await, lost_up_to + 1);
    assert_eq!(append(&storage).await, lost_up_to + 2);
    assert_eq!(storage.newest(&ann).await.unwrap(), lost_up_to + 2);
}

/// Two servers on one database, and a user there.
async fn two_servers(postgres: &Postgres) -> ([PostgresStorage; 2], Owner) {
    let url = postgres.database().await;
    let one = PostgresStorage::connect(&url).await.unwrap();
    let other = PostgresStorage::connect(&url).await.unwrap();
    let ann = UserId::from("ann");
    one.upsert_external_user(&ann, "Ann").await.unwrap();
    let number = one.user_number(&ann).await.unwrap().unwrap();
    ([one, other], Owner::new(ann, number))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_given_very_many_messages_is_moved_with_the_others() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let (key, now) = (SessionKey([1; 32]), SystemClock.now());
    let mut marks = Vec::new();
    for (login, messages) in [("ann", 250), ("bob", 3), ("carol", 250)] {
        let user = UserId::from(login);
        storage.upsert_external_user(&user, login).await.unwrap();
        let number = storage.user_number(&user).await.unwrap().unwrap();
        let session = NewSession::new(Owner::new(user.clone(), number), key, now);
        storage.open_session(session).await.unwrap();
        for _ in 0..messages {
            let message = Message::new("id", "eve", login, 1_700_000_000);
            storage.append(NewMessage::new(message, now)).await.unwrap();
        }
        marks.push(Watermark::new(user, key, messages, now));
    }
    storage.advance(marks.clone()).await.unwrap();
    let all = PageLimits::new(usize::MAX, usize::MAX);
    for mark in &marks {
        let session = storage.session(&mark.user, &key).await.unwrap().unwrap();
        assert_eq!(session.delivered_up_to, mark.delivered_up_to);
        let inbox = storage.inbox(&mark.user, 0, all).await.unwrap();
        assert!(inbox.is_empty(), "{} keeps {}", mark.user, inbox.len());
    }
    storage.advance(marks).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_the_end_of_ephemeral_sessions_hold_for_all_servers() {
    let postgres = Postgres::start().await;
    let (servers, ann) = two_servers(&postgres).await;
    let now = SystemClock.now();
    let rate = Rate::new(3, Duration::from_secs(3600));
    for limit in [SharedLimit::FailedAuthLogin, SharedLimit::Import] {
        let mut taken = Vec::new();
        for number in 0..4 {
            let budgets = servers[number % 2].budgets().unwrap();
            taken.push(budgets.take(limit, "ann", 1, rate, now).await.unwrap());
        }
        assert_eq!(taken, [true, true, true, false], "{limit:?}");
    }
    let begun = Look::new(ann.clone(), None);
    let is_there = async |look: &Look| {
        let seen = servers[1].look(vec![look.clone()]).await.unwrap();
        matches!(seen[..], [Seen::There { .. }])
    };
    assert!(is_there(&begun).await);
    servers[0].end_ephemeral(&ann.user).await.unwrap();
    assert!(!is_there(&begun).await);
    let ended = servers[1].ephemeral_ended(&ann.user).await.unwrap();
    assert!(is_there(&begun.ephemeral_ended(ended)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_at_a_time_purges_and_by_the_clock_of_the_database() {
    let postgres = Postgres::start().await;
    let ([storage, _], ann) = two_servers(&postgres).await;
    let now = SystemClock.now();
    let (hour, year) = (Duration::from_secs(3600), Duration::from_secs(365 * 86_400));
    let ago = |time: Duration| Timestamp::from_micros(now.as_micros() - micros(time));
    let later = |time: Duration| Timestamp::from_micros(now.as_micros() + micros(time));
    for (key, used) in [(1, ago(2 * hour)), (2, now)] {
        let session = NewSession::new(ann.clone(), SessionKey([key; 32]), used);
        storage.open_session(session).await.unwrap();
    }
    let sessions = async || {
        let data = storage.user_data(&ann.user).await.unwrap().unwrap();
        data.sessions.len()
    };
    let client = postgres.client("messenger0").await;
    let purging = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('messenger purge', 0))";
    client.batch_execute(purging).await.unwrap();
    let expiry = Expiry::at(now, hour, year, year);
    let again = storage.purge_expired(expiry).await.unwrap();
    assert!(!again.is_zero(), "another server is at it");
    assert_eq!(sessions().await, 2);
    client.batch_execute("COMMIT").await.unwrap();
    while storage.purge_expired(expiry).await.unwrap().is_zero() {}
    assert_eq!(sessions().await, 1);
    // A server whose clock is a year ahead.
    let early = Expiry::at(later(year), hour, year, year);
    while storage.purge_expired(early).await.unwrap().is_zero() {}
    assert_eq!(sessions().await, 1, "was used now");
}

/// Users whose only session is out of date, each with so many messages that another was given.
async fn fill(client: &tokio_postgres::Client, users: u32, messages: u32) {
    let fill = format!(
        "INSERT INTO users (login, skeleton, nick) SELECT 'due ' || n, 'due ' || n, '' FROM generate_series(1, {users}) n;
         INSERT INTO inboxes (user_no, newest, given, kept, bytes, oldest_time)
            SELECT no, {messages}, {messages}, {messages}, 4 * {messages}, 1700000000 FROM users WHERE login LIKE 'due %';
         INSERT INTO messages SELECT no, seq, 4, 1700000000, 'id', 'eve', '', 'text', '', ''
            FROM users, generate_series(1, {messages}) seq WHERE login LIKE 'due %';
         INSERT INTO sessions SELECT no, sha256(login::bytea), 0, false, 1700000000000000, 1700000000000000
            FROM users WHERE login LIKE 'due %'"
    );
    client.batch_execute(&fill).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn much_that_is_out_of_date_is_dropped_step_by_step() {
    let postgres = Postgres::start().await;
    let ([storage, _], ann) = two_servers(&postgres).await;
    let client = postgres.client("messenger0").await;
    fill(&client, 200, 2_000).await;
    let count = async |table: &str| -> i64 {
        let select = format!("SELECT count(*) FROM {table}");
        client.query_one(&select, &[]).await.unwrap().get(0)
    };
    let (hour, now) = (Duration::from_secs(3600), SystemClock.now());
    let session = NewSession::new(ann.clone(), SessionKey([1; 32]), now);
    storage.open_session(session).await.unwrap();
    let expiry = Expiry::at(now, hour, 1_000_000 * hour, hour);
    let again = storage.purge_expired(expiry).await.unwrap();
    assert!(again.is_zero(), "there is more");
    assert!(count("messages").await > 0, "a step has an end");
    let mut steps = 1;
    while storage.purge_expired(expiry).await.unwrap().is_zero() {
        steps += 1;
    }
    assert!(steps <= 201, "each drops something: {steps}");
    assert_eq!((count("messages").await, count("sessions").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_inbox_keeps_nobody_elses_from_being_cleared() {
    let postgres = Postgres::start().await;
    let ([storage, _], _) = two_servers(&postgres).await;
    let mut client = postgres.client("messenger0").await;
    fill(&client, 3, 1).await;
    let (hour, now) = (Duration::from_secs(3600), SystemClock.now());
    let expiry = Expiry::at(now, hour, 1_000_000 * hour, hour);
    let purge = async || while storage.purge_expired(expiry).await.unwrap().is_zero() {};
    let has_session = async |login: &str| {
        let data = storage.user_data(&login.into()).await.unwrap().unwrap();
        !data.sessions.is_empty()
    };
    let lock = "SELECT FROM inboxes JOIN users ON no = user_no WHERE login = 'due 2' FOR UPDATE OF inboxes";
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute(lock).await.unwrap();
    purge().await;
    assert!(!has_session("due 1").await && !has_session("due 3").await);
    assert!(has_session("due 2").await);
    transaction.rollback().await.unwrap();
    purge().await;
    assert!(!has_session("due 2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_whom_very_much_is_kept_is_gone_at_once_and_forgotten_step_by_step() {
    let postgres = Postgres::start().await;
    let ([storage, _], ann) = two_servers(&postgres).await;
    let client = postgres.client("messenger0").await;
    fill(&client, 1, 1).await;
    let bob = UserId::from("due 1");
    storage.add_contact(&ann, &bob, 10).await.unwrap();
    let more = "
        INSERT INTO mids SELECT no, n, 'mid', '', extract(epoch FROM now()) * 1000000, 'id', 1700000000
            FROM users, generate_series(1, 12000) n WHERE login = 'due 1';
        INSERT INTO contacts (owner_no, contact_no) SELECT 1000000 + n, no
            FROM users, generate_series(1, 12000) n WHERE login = 'due 1';
        INSERT INTO myids SELECT 1000000 + n, no, 'myid'
            FROM users, generate_series(1, 12000) n WHERE login = 'due 1'";
    client.batch_execute(more).await.unwrap();
    assert!(storage.delete_user(&bob).await.unwrap());
    assert!(!storage.delete_user(&bob).await.unwrap(), "is gone");
    assert_eq!(storage.user_data(&bob).await.unwrap(), None);
    assert_eq!(storage.contacts(&ann.user).await.unwrap(), []);
    let count = async || -> i64 {
        let select = "SELECT (SELECT count(*) FROM mids) + (SELECT count(*) FROM contacts) + (SELECT count(*) FROM myids)";
        client.query_one(select, &[]).await.unwrap().get(0)
    };
    assert!(count().await > 0, "a step has an end");
    let year = Duration::from_secs(365 * 86_400);
    let expiry = Expiry::at(SystemClock.now(), year, year, year);
    while storage.purge_expired(expiry).await.unwrap().is_zero() {}
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_beyond_what_a_list_has_are_not_read() {
    let postgres = Postgres::start().await;
    let ([storage, _], ann) = two_servers(&postgres).await;
    let client = postgres.client("messenger0").await;
    let mib = 1024 * 1024;
    let sizes = [40 * mib, 40 * mib, 1];
    for (number, size) in sizes.into_iter().enumerate() {
        let login = format!("user {number}");
        let user = UserId::from(login.as_str());
        storage.upsert_external_user(&user, "nick").await.unwrap();
        storage.add_contact(&ann, &user, 10).await.unwrap();
        let change =
            format!("UPDATE users SET picture = repeat('p', {size}) WHERE login = '{login}'");
        client.batch_execute(&change).await.unwrap();
    }
    let contacts = storage.contacts(&ann.user).await.unwrap();
    let pictures = contacts.iter().map(|contact| contact.card.picture.len());
    assert_eq!(pictures.collect::<Vec<_>>(), [sizes[0], sizes[1], 0]);
    let logins = contacts.iter().map(|contact| contact.card.uid.as_str());
    assert_eq!(logins.collect::<Vec<_>>(), ["user 0", "user 1", "user 2"]);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

/// The function of the database chooses as the core does.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_is_over_its_limit_loses_what_it_loses_in_memory() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let here: Arc<dyn Storage> = Arc::new(PostgresStorage::connect(&url).await.unwrap());
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let stores = [here, memory];
    let (ann, keys) = (
        UserId::from("ann"),
        [SessionKey([1; 32]), SessionKey([2; 32])],
    );
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    for store in &stores {
        store.upsert_external_user(&ann, "Ann").await.unwrap();
        let number = store.user_number(&ann).await.unwrap().unwrap();
        for key in keys {
            let session = NewSession::new(Owner::new(ann.clone(), number), key, now);
            store.open_session(session).await.unwrap();
        }
    }
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut dropped_in_all = 0;
    for step in 0..300_u64 {
        // Some senders send more, some larger ones.
        let sender = random(4).min(random(4));
        let size = random(3 + 8 * sender);
        let body = "x".repeat(usize::try_from(size).unwrap());
        let message = Message::new(
            format!("{step}"),
            format!("sender {sender}"),
            "ann",
            1_700_000_000,
        );
        let limits = InboxLimits::new(40, 300);
        let new = NewMessage::new(message.body(body), now).limits(limits);
        let laggard_moves = random(20) == 0;
        let mut outcomes = Vec::new();
        for store in &stores {
            let Appended::Stored { seq, dropped, .. } = store.append(new.clone()).await.unwrap()
            else {
                panic!("has no mid");
            };
            let mut marks = vec![Watermark::new(ann.clone(), keys[0], seq, now)];
            if laggard_moves {
                marks.push(Watermark::new(ann.clone(), keys[1], seq / 2, now));
            }
            store.advance(marks).await.unwrap();
            let page = PageLimits::new(usize::MAX, usize::MAX);
            outcomes.push((seq, dropped, store.inbox(&ann, 0, page).await.unwrap()));
        }
        assert_eq!(outcomes[0], outcomes[1], "in step {step}");
        dropped_in_all += outcomes[0].1;
    }
    assert!(dropped_in_all > 100, "{dropped_in_all}");
}
