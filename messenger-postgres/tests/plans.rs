//! What calls cost in a database that holds a lot: nothing is looked for by going through a table.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use messenger_core::Engine;
use messenger_core::clock::Timestamp;
use messenger_core::policy::{InboxLimits, Rate};
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{
    Account, Address, Expiry, FindLimits, Look, Lookup, NewMessage, NewSession, Owner, PageLimits,
    ProfileChange, SessionKey, SharedLimit, Storage, Watermark,
};
use messenger_postgres::PostgresStorage;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testing_servers::{DEADLINE, Postgres};
use tokio_postgres::Client;

/// Has every plan logged, those inside of functions too.
const PLANS: [&str; 4] = [
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_nested_statements=on",
    "max_parallel_workers_per_gather=0",
];

/// Tables that hold little, whatever happens.
const SMALL: [&str; 2] = ["about", "lanes"];

const NOW: u64 = 1_700_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000)
}

/// 20,000 users with a session, contacts, waiting messages and mids.
const FILL: &str = "
    SET auto_explain.log_min_duration = -1;
    INSERT INTO users (login, skeleton, nick, pass_hash, email, email_key, phone, phone_key)
        SELECT 'user' || n, 'user' || n, 'nick' || n, 'hash', 'e' || n, 'e' || n, 'p' || n, 'p' || n
        FROM generate_series(1, 20000) n;
    INSERT INTO inboxes (user_no, newest, kept, bytes, waiting, waiting_bytes, oldest_time)
        SELECT no, 3, 3, 12, 3, 12, 1700000000 FROM users;
    INSERT INTO messages SELECT no, seq, 4, 1700000000, 'id', 'user1', 'nick', 'text', '', ''
        FROM users, generate_series(1, 3) seq;
    INSERT INTO mids SELECT no, no, 'mid', '', 1700000000000000, 'id', 1700000000 FROM users;
    INSERT INTO sessions SELECT no, sha256(login::bytea), 0, false, 1700000000000000, 1700000000000000 FROM users;
    INSERT INTO contacts (owner_no, contact_no) SELECT no, (no + 1) % 20000 FROM users;
    INSERT INTO myids SELECT no, (no + 1) % 20000, 'friend' FROM users;
    INSERT INTO budgets SELECT 0, login, 1700000000000000 FROM users;
    ANALYZE";

#[tokio::test(flavor = "multi_thread")]
async fn no_call_goes_through_a_table() {
    let postgres = Postgres::start_with(&PLANS).await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    let client = postgres.client("messenger0").await;
    client.batch_execute(FILL).await.unwrap();
    let before = postgres.log().len();
    // Functions plan anew for some calls, and then once for all.
    for round in 0..8 {
        call_everything(&storage, round).await;
    }
    let log = postgres.log();
    let plans = log.get(before..).unwrap();
    for inside in [
        "Insert on messages",
        "Update on inboxes",
        "Delete on messages",
        "Delete on mids",
    ] {
        assert!(plans.contains(inside), "no plan of a function: {inside}");
    }
    assert_no_table_is_gone_through(plans);
}

fn assert_no_table_is_gone_through(plans: &str) {
    for (at, _) in plans.match_indices("Seq Scan on ") {
        let (before, plan) = plans.split_at(at);
        let table = plan.split_whitespace().nth(3).unwrap();
        let query = before
            .rfind("Query Text")
            .map_or(before, |at| &before[at..]);
        assert!(
            SMALL.contains(&table),
            "{query}{}",
            plan.get(..80).unwrap_or(plan)
        );
    }
}

async fn call_everything(storage: &PostgresStorage, round: u64) {
    let user = |number: u64| UserId::from(format!("user{number}"));
    let (ann, bob) = (user(100 + round), user(200 + round));
    let owner = async |user: &UserId| {
        let number = storage.user_number(user).await.unwrap().unwrap();
        Owner::new(user.clone(), number)
    };
    let of_ann = owner(&ann).await;
    let key = SessionKey([u8::try_from(round).unwrap(); 32]);
    let all = PageLimits::new(100, 10_000);

    let account = Account::new(format!("new{round}"), format!("new nick{round}"), "hash");
    let accounts = storage.accounts().unwrap();
    accounts.create_distinct_account(account).await.unwrap();
    accounts.account(ann.as_str()).await.unwrap();
    accounts.set_password(&ann, "new".to_owned()).await.unwrap();
    storage.upsert_external_user(&bob, "Bob").await.unwrap();
    storage.users(Some(&ann), 10).await.unwrap();
    storage.user_data(&ann).await.unwrap();
    storage.profile(&ann).await.unwrap();
    let email = Address::new("a", Some("a".to_owned()));
    let change = ProfileChange::new().email(email);
    storage.change_profile(&of_ann, change).await.unwrap();
    storage.add_contact(&of_ann, &bob, 10).await.unwrap();
    storage.contacts(&ann).await.unwrap();
    storage.remove_contact(&of_ann, &bob).await.unwrap();
    let wanted = Lookup::new("friend").emails(vec!["e300".to_owned()]);
    let limits = FindLimits::new(10, 100_000, 10);
    let found = storage.find_users(&of_ann, vec![wanted], limits).await;
    assert_eq!(found.unwrap().len(), 1);

    let session = NewSession::new(of_ann.clone(), key, now()).limit(8);
    storage.open_session(session).await.unwrap();
    storage.resume(&ann, &key).await.unwrap().unwrap();
    let appends = (0..20).map(|number| {
        let message = Message::new(
            "id",
            ann.as_str(),
            user(1000 + 100 * round + number % 7),
            NOW,
        );
        let mut new = NewMessage::new(message, now()).sender(of_ann.number);
        if number % 2 == 0 {
            new = new.mid(format!("mid{number}"));
        }
        // Some have no room for all.
        let most = if number == 6 { 3 } else { 100 };
        storage.append(new.limits(InboxLimits::new(most, 10_000)))
    });
    futures_util::future::join_all(appends).await;
    let to_ann = NewMessage::new(Message::new("id", bob.as_str(), ann.clone(), NOW), now());
    let seq = storage.append(to_ann).await.unwrap().seq().unwrap();
    let look = Look::new(of_ann.clone(), Some(key));
    storage.look(vec![look.clone(); 100]).await.unwrap();
    storage.inbox(&ann, 0, all).await.unwrap();
    storage.inbox_for(&look, 0, all).await.unwrap().unwrap();
    let ephemeral = Look::new(of_ann.clone(), None);
    storage
        .inbox_for(&ephemeral, 0, all)
        .await
        .unwrap()
        .unwrap();
    storage.newest(&ann).await.unwrap();
    let mark = Watermark::new(ann.clone(), key, seq, now());
    storage.advance(vec![mark]).await.unwrap();
    storage.end_ephemeral(&ann).await.unwrap();
    storage.ephemeral_ended(&ann).await.unwrap();
    storage.end_session(&ann, &key).await.unwrap();
    storage.latest_use().await.unwrap();

    let rate = Rate::new(10, Duration::from_secs(60));
    let budgets = storage.budgets().unwrap();
    let (limit, login) = (SharedLimit::FailedAuthLogin, ann.as_str());
    budgets.take(limit, login, 1, rate, now()).await.unwrap();
    budgets.give_back(limit, login, rate).await.unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let later = Timestamp::from_micros((NOW + 3600) * 1_000_000);
    let expiry = Expiry::at(later, day, day, day);
    storage.purge_expired(expiry).await.unwrap();
    storage.check().await.unwrap();
    storage.delete_user(&bob).await.unwrap();
}

/// Whatever is stored: here most users have no address, and skeletons and keys are another rule's.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_computing_keys_anew_has_an_end() {
    const DONE: &str =
        "SELECT EXISTS (SELECT FROM about WHERE name = 'address rule' AND value LIKE '%, RU')
        AND NOT EXISTS (SELECT FROM users WHERE skeleton LIKE '%1%' OR email_key IS NOT NULL)";
    let settings = [&PLANS[..], &["auto_explain.log_analyze=on"]].concat();
    let postgres = Postgres::start_with(&settings).await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let client = postgres.client("messenger0").await;
    client.batch_execute(FILL).await.unwrap();
    let few = "UPDATE users SET email = '', phone = '', email_key = NULL, phone_key = NULL
        WHERE login < 'user5'; ANALYZE";
    client.batch_execute(few).await.unwrap();
    let before = postgres.log().len();
    let engine = Engine::builder().storage(Arc::new(storage.unwrap()));
    let _engine = engine.build().unwrap();
    let begun = Instant::now();
    while !client.query_one(DONE, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(begun.elapsed() < DEADLINE, "the keys are not computed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = postgres.log();
    let plans = log.get(before..).unwrap();
    assert!(plans.contains("Update on users"), "no plan of a function");
    assert_no_table_is_gone_through(plans);
    for removed in plans.split("Rows Removed by Filter: ").skip(1) {
        let rows: String = removed.chars().take_while(char::is_ascii_digit).collect();
        assert!(
            rows.parse::<u32>().unwrap() <= 1000,
            "{rows} were not wanted"
        );
    }
}

/// How many updates of a table there were, and how many of them touched no index.
async fn updates(client: &Client, table: &str) -> (i64, i64) {
    let select = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1";
    let row = client.query_one(select, &[&table]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_with_every_message_touches_no_index() {
    const ROUNDS: u64 = 200;
    const USERS: u64 = 20;
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    let users: Vec<UserId> = (0..USERS)
        .map(|user| format!("user{user}").into())
        .collect();
    let key = SessionKey([1; 32]);
    for user in &users {
        storage.upsert_external_user(user, "nick").await.unwrap();
        let number = storage.user_number(user).await.unwrap().unwrap();
        let session = NewSession::new(Owner::new(user.clone(), number), key, now());
        storage.open_session(session).await.unwrap();
    }
    for round in 1..=ROUNDS {
        let appends = users.iter().map(|user| {
            let message = Message::new("id", "bob", user.clone(), NOW);
            storage.append(NewMessage::new(message, now()))
        });
        futures_util::future::join_all(appends).await;
        let used = Timestamp::from_micros((NOW + round) * 1_000_000);
        let marks = users.iter();
        let marks = marks.map(|user| Watermark::new(user.clone(), key, round, used));
        storage.advance(marks.collect()).await.unwrap();
    }
    let client = postgres.client("messenger0").await;
    let least = i64::try_from(ROUNDS * USERS).unwrap();
    for (table, least) in [("inboxes", 2 * least), ("sessions", least)] {
        let begun = Instant::now();
        // The database counts a while later.
        let (all, quick) = loop {
            let (all, quick) = updates(&client, table).await;
            if all >= least {
                break (all, quick);
            }
            assert!(begun.elapsed() < DEADLINE, "{all} updates of {table}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(quick * 100 >= all * 95, "{table}: {quick} of {all}");
    }
}
