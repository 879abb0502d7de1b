//! What others have locked, and a database that stands still, keep nobody for long who need not wait.

use crate::{add_users, bodies, count, message, send, until};
use futures_util::future::join_all;
use messenger_core::clock::Timestamp;
use messenger_core::proto::UserId;
use messenger_core::storage::{AppendError, NewSession, Owner, SessionKey, Storage, Watermark};
use messenger_postgres::PostgresStorage;
use std::error::Error;
use std::time::Instant;
use testing_servers::{DEADLINE, Postgres};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_another_has_locked_keeps_nobody_else() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    // Enough for both lanes.
    let others: Vec<String> = (0..8).map(|number| format!("other {number}")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    add_users(&storage, &[&["ann"], &others[..]].concat()).await;
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; SELECT FROM inboxes JOIN users ON no = user_no WHERE login = 'ann' FOR UPDATE OF inboxes";
    client.batch_execute(lock).await.unwrap();
    for round in ["1", "2", "3"] {
        let to_ann = storage.append(message("bob", "ann", round));
        let to_others = others
            .iter()
            .map(|other| storage.append(message("bob", other, round)));
        let (to_ann, to_others) = tokio::join!(to_ann, join_all(to_others));
        for appended in to_others {
            appended.expect("goes on");
        }
        let Err(AppendError::Storage(error)) = to_ann else {
            panic!("{to_ann:?}");
        };
        assert!(!error.is_unknown(), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("locked"), "{cause}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    send(&storage, message("bob", "ann", "4")).await;
    assert_eq!(
        bodies(&storage, "ann").await,
        ["4"],
        "the others were refused"
    );
    for other in others {
        assert_eq!(bodies(&storage, other).await, ["1", "2", "3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_an_inbox_is_stored_in_its_order() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    let others = ["other 1", "other 2", "other 3", "other 4"];
    add_users(&storage, &["ann"]).await;
    add_users(&storage, &others).await;
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; SELECT FROM inboxes JOIN users ON no = user_no WHERE login = 'ann' FOR UPDATE OF inboxes";
    let mut stored: Vec<String> = Vec::new();
    let is_stored_in = async |round: u32, stored: &mut Vec<String>| {
        let sent: Vec<String> = (0..20).map(|number| format!("{round}, {number}")).collect();
        let to_ann = sent
            .iter()
            .map(|body| storage.append(message("bob", "ann", body)));
        client.batch_execute(lock).await.unwrap();
        let meanwhile = async {
            // Each of them is stored behind a look at the locked inbox, and some more messages to ann come then.
            for other in others {
                send(&storage, message("bob", other, &format!("{round}"))).await;
            }
            client.batch_execute("ROLLBACK").await.unwrap();
        };
        let (to_ann, ()) = tokio::join!(join_all(to_ann), meanwhile);
        let done = sent
            .into_iter()
            .zip(&to_ann)
            .filter(|(_, appended)| appended.is_ok());
        stored.extend(done.map(|(body, _)| body));
        to_ann.iter().all(Result::is_ok)
    };
    // On a busy machine the inbox may be locked for so long that they are refused.
    let begun = Instant::now();
    for round in 0.. {
        assert!(begun.elapsed() < DEADLINE, "all are refused");
        let is_whole = is_stored_in(round, &mut stored).await;
        assert_eq!(bodies(&storage, "ann").await, stored);
        if is_whole {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_of_others_do_not_wait_for_an_inbox_that_another_has_locked() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    let (key, now) = (SessionKey([1; 32]), Timestamp::from_micros(1));
    // Inboxes are locked in this order.
    let users = ["ann", "bob", "cid"].map(UserId::from);
    add_users(&storage, &["ann", "bob", "cid"]).await;
    for user in &users {
        let number = storage.user_number(user).await.unwrap().unwrap();
        let session = NewSession::new(Owner::new(user.clone(), number), key, now);
        storage.open_session(session).await.unwrap();
        send(&storage, message("eve", user.as_str(), "1")).await;
    }
    let place = async |user: &UserId| {
        let session = storage.session(user, &key).await.unwrap();
        session.unwrap().delivered_up_to
    };
    let marks = users.clone().map(|user| Watermark::new(user, key, 1, now));
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; SELECT FROM inboxes JOIN users ON no = user_no WHERE login = 'ann' FOR UPDATE OF inboxes";
    client.batch_execute(lock).await.unwrap();
    let advancing = storage.advance(marks.to_vec());
    let meanwhile = async {
        until(async || place(&users[1]).await == 1 && place(&users[2]).await == 1).await;
        send(&storage, message("eve", "bob", "2")).await;
        assert_eq!(place(&users[0]).await, 0, "it is locked");
        client.batch_execute("ROLLBACK").await.unwrap();
    };
    // On a busy machine the inbox may be locked for longer than is waited for it.
    let (_, ()) = tokio::join!(advancing, meanwhile);
    until(async || storage.advance(marks.to_vec()).await.is_ok()).await;
    assert_eq!(place(&users[0]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_for_one_in_masses_keep_nobody_else() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    // Enough for both lanes.
    let others: Vec<String> = (0..8).map(|number| format!("other {number}")).collect();
    add_users(&storage, &["ann"]).await;
    for other in &others {
        add_users(&storage, &[other]).await;
    }
    let client = postgres.client("messenger0").await;
    // No batch ends before all messages wait.
    let lock = "BEGIN; LOCK TABLE lanes IN ACCESS EXCLUSIVE MODE";
    client.batch_execute(lock).await.unwrap();
    let to_ann = (0..1000).map(|number| storage.append(message("bob", "ann", &number.to_string())));
    let to_others = others
        .iter()
        .map(|other| storage.append(message("eve", other, "1")));
    let unlock = async { client.batch_execute("ROLLBACK").await.unwrap() };
    let (_, to_others, ()) = tokio::join!(join_all(to_ann), join_all(to_others), unlock);
    for appended in to_others {
        appended.unwrap();
    }
    let before = "SELECT max((SELECT count(*) FROM messages WHERE sender = 'bob' AND xmin::text::bigint < o.xmin::text::bigint))
        FROM messages o WHERE sender = 'eve'";
    let before: i64 = client.query_one(before, &[]).await.unwrap().get(0);
    assert!(before <= 200, "{before} of 1000 were stored before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_lock_too_long_is_not_done() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    add_users(&storage, &["ann"]).await;
    let client = postgres.client("messenger0").await;
    let lock = "BEGIN; LOCK TABLE messages IN SHARE MODE";
    client.batch_execute(lock).await.unwrap();
    let appended = storage.append(message("bob", "ann", "1"));
    let appended = timeout(DEADLINE, appended).await.expect("an answer");
    let Err(AppendError::Storage(error)) = appended else {
        panic!("{appended:?}");
    };
    assert!(!error.is_unknown(), "{error}");
    client.batch_execute("ROLLBACK").await.unwrap();
    send(&storage, message("bob", "ann", "1")).await;
    assert_eq!(bodies(&storage, "ann").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_fails_calls_and_serves_again() {
    let postgres = Postgres::start().await;
    let storage = PostgresStorage::connect(&postgres.database().await).await;
    let storage = storage.unwrap();
    add_users(&storage, &["ann"]).await;
    send(&storage, message("bob", "ann", "1")).await;
    let client = postgres.client("messenger0").await;
    postgres.signal("STOP");
    let ann = "ann".into();
    let calls = async {
        tokio::join!(
            storage.append(message("bob", "ann", "2")),
            storage.newest(&ann)
        )
    };
    let (appended, newest) = timeout(DEADLINE, calls).await.expect("an answer");
    let Err(AppendError::Storage(error)) = appended else {
        panic!("{appended:?}");
    };
    assert!(error.is_unknown(), "it may go on with it: {error}");
    assert!(newest.is_err());
    postgres.signal("CONT");
    send(&storage, message("bob", "ann", "2")).await;
    send(&storage, message("bob", "ann", "3")).await;
    assert_eq!(bodies(&storage, "ann").await, ["1", "2", "3"]);
    until(async || count(&client).await == 3).await;
}
