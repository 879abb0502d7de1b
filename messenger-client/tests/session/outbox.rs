//! Messages on their way out.

use crate::world::{World, heard, soon, until, until_online};
use messenger_client::proto::{Attachment, SendMessage};
use messenger_client::{
    ConnectionState, MESSAGE_BYTES, MemoryStore, OUTBOX_BYTES, OUTBOX_MESSAGES, SendError, Session,
    SessionEnd, SessionEvent,
};
use std::time::Duration;
use tokio::time::timeout;

fn file(bytes: usize) -> SendMessage {
    let data = "A".repeat(bytes);
    SendMessage::new("bob", "").attach(Attachment::new("image/png", data))
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_offline_goes_out_in_order_once_there_is_a_connection() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    world.stop();
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    let mut receipts = Vec::new();
    for number in 0..200 {
        receipts.push(ann.send("bob", &number.to_string()).await.unwrap());
    }
    assert_eq!(ann.outbox().0, 200);
    assert!(ann.unwritten_bytes() > 0);
    world.start();
    for receipt in receipts {
        soon(receipt.accepted()).await.unwrap();
    }
    for number in 0..200 {
        assert_eq!(heard(&mut incoming).await, number.to_string());
    }
    assert_eq!(ann.outbox(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_unavailable_gets_the_message_again() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    let (ann, _incoming) = world.online("ann").await;
    world.storage().set_failing(true);
    let receipts = [ann.send("bob", "one").await, ann.send("bob", "two").await];
    let [one, two] = receipts.map(|receipt| tokio::spawn(receipt.unwrap().accepted()));
    let appends = world.storage().appends();
    while world.storage().appends() < appends + 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = world.storage().appends() - appends;
    assert!(
        asked < 60,
        "a server that is unavailable was asked {asked} times"
    );
    assert!(!one.is_finished() && !two.is_finished());
    world.storage().set_failing(false);
    soon(one).await.unwrap().unwrap();
    soon(two).await.unwrap().unwrap();
    assert_eq!(heard(&mut incoming).await, "one");
    assert_eq!(heard(&mut incoming).await, "two");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_makes_no_second_message() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    let (ann, mut copies) = world.online("ann").await;
    world.storage().set_losing_answers(true);
    let receipt = ann.send("bob", "once").await.unwrap();
    assert_eq!(heard(&mut incoming).await, "once");
    world.storage().set_losing_answers(false);
    soon(receipt.accepted()).await.unwrap();
    ann.send("bob", "and another").await.unwrap();
    assert_eq!(heard(&mut incoming).await, "and another");
    // So it is with the own copies.
    for expected in ["once", "and another"] {
        let copy = soon(copies.next_message()).await.unwrap();
        assert_eq!(copy.message.body.as_str(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_connection_was_cut_is_sent_again_and_its_copy_seen_once() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    let (ann, mut copies) = world.online("ann").await;
    world.storage().hold_appends();
    let receipt = ann.send("bob", "once").await.unwrap();
    let held = async |count| {
        while world.storage().held() < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(held(1)).await;
    world.cut();
    // The server carries out both, the first when the second connection is there.
    soon(held(2)).await;
    world.storage().release(2);
    soon(receipt.accepted()).await.unwrap();
    world.storage().release(1);
    let receipt = ann.send("bob", "and another").await.unwrap();
    soon(receipt.accepted()).await.unwrap();
    for expected in ["once", "and another"] {
        assert_eq!(heard(&mut incoming).await, expected);
        let copy = soon(copies.next_message()).await.unwrap();
        assert_eq!(copy.message.body.as_str(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_is_bounded_in_messages() {
    let world = World::new(&["ann", "bob"]);
    world.stop();
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    for number in 0..OUTBOX_MESSAGES {
        let _ = ann.send("bob", &number.to_string()).await.unwrap();
    }
    let refused = ann.send("bob", "one too many").await;
    assert!(
        matches!(refused, Err(SendError::OutboxFull { .. })),
        "{refused:?}"
    );
    world.start();
    while ann.outbox().0 > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ann.send("bob", "room again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outbox_is_bounded_in_bytes() {
    let world = World::new(&["ann", "bob"]);
    world.stop();
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    let refused = ann.send_message(file(MESSAGE_BYTES)).await;
    assert!(
        matches!(refused, Err(SendError::TooLong { .. })),
        "{refused:?}"
    );
    let each = MESSAGE_BYTES - 1024;
    for _ in 0..OUTBOX_BYTES / MESSAGE_BYTES {
        let _ = ann.send_message(file(each)).await.unwrap();
    }
    let refused = ann.send_message(file(each)).await;
    assert!(
        matches!(refused, Err(SendError::OutboxFull { .. })),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_is_told_to_whoever_waits_for_it() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    let (ann, _incoming) = world.online("ann").await;
    let refused = ann.send("nobody", "hello").await.unwrap().accepted().await;
    assert!(
        matches!(&refused, Err(SendError::Refused(failure)) if failure.code.number() == 8),
        "{refused:?}"
    );
    assert_eq!(ann.outbox().0, 0);
    ann.send("bob", "goes on").await.unwrap();
    assert_eq!(heard(&mut incoming).await, "goes on");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_to_a_later_run_is_told_there() {
    let world = World::new(&["ann"]);
    world.stop();
    let store = MemoryStore::default();
    let start = || world.device("ann").store(store.clone()).start();
    let (ann, _incoming) = start().await.unwrap();
    let receipt = ann.send("nobody", "hello").await.unwrap();
    ann.close().await;
    let ended = receipt.accepted().await;
    assert!(
        matches!(ended, Err(SendError::Ended(SessionEnd::Closed))),
        "{ended:?}"
    );
    world.start();
    let (ann, mut incoming) = start().await.unwrap();
    let SessionEvent::Refused(refused) = soon(incoming.next()).await.unwrap() else {
        panic!("another event");
    };
    assert_eq!(refused.message.body.as_str(), "hello");
    assert_eq!(refused.failure.code.number(), 8);
    assert_eq!(ann.outbox().0, 0);
    ann.close().await;
    let (_ann, mut incoming) = start().await.unwrap();
    let nothing = timeout(Duration::from_secs(600), incoming.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_to_nobody_holds_up_no_other() {
    let world = World::new(&["ann", "bob", "eve"]);
    world.stop();
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    let mut receipts = Vec::new();
    for to in ["bob", "nobody", "eve", "bob"] {
        receipts.push(ann.send(to, "hello").await.unwrap());
    }
    world.start();
    let mut accepted = Vec::new();
    for receipt in receipts {
        accepted.push(soon(receipt.accepted()).await.is_ok());
    }
    assert_eq!(accepted, [true, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_once_the_session_has_ended() {
    let world = World::new(&["ann"]);
    world.set_password("ann", "another");
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    let receipt = early(&ann).await;
    until(&ann, |state| matches!(state, ConnectionState::Ended { .. })).await;
    let ended = receipt.accepted().await;
    assert!(
        matches!(ended, Err(SendError::Ended(SessionEnd::Refused(_)))),
        "{ended:?}"
    );
    let refused = ann.send("ann", "late").await;
    assert!(
        matches!(refused, Err(SendError::Ended(SessionEnd::Refused(_)))),
        "{refused:?}"
    );
}

/// A message that is put into the outbox before there is a connection.
async fn early(session: &Session) -> messenger_client::Receipt {
    session.send("ann", "early").await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_message_in_a_million_bytes_does_not_hold_up_the_session() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut incoming) = world.online("bob").await;
    let (ann, _incoming) = world.online("ann").await;
    let receipt = ann.send_message(file(12_000_000)).await.unwrap();
    soon(receipt.accepted()).await.unwrap();
    assert_eq!(heard(&mut incoming).await, "");
    until_online(&ann).await;
    assert_eq!(world.connects(), 2);
}
