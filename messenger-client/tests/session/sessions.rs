//! Sessions that end, and several of one user.

use crate::world::{LONG, World, heard, soon, until, until_online};
use messenger_client::proto::{ContactList, SendMessage};
use messenger_client::{
    Client, ClientError, ConnectionState, MemoryStore, SessionEnd, SessionEvent, StartError,
};
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn three_devices_of_a_user_see_each_message_once() {
    let world = World::new(&["ann", "bob"]);
    let (bob, mut from_ann) = world.online("bob").await;
    let mut devices = [
        world.online("ann").await,
        world.online("ann").await,
        world.online("ann").await,
    ];
    for number in 0..10 {
        bob.send("ann", &format!("to ann {number}")).await.unwrap();
        let (ann, _) = &devices[number % 3];
        let receipt = ann.send("bob", &format!("to bob {number}")).await.unwrap();
        soon(receipt.accepted()).await.unwrap();
        assert_eq!(heard(&mut from_ann).await, format!("to bob {number}"));
    }
    for (_, incoming) in &mut devices {
        let mut seen = (0, 0);
        while seen != (10, 10) {
            let message = soon(incoming.next_message()).await.unwrap();
            let body = message.message.body.as_str().to_owned();
            if message.seq.is_some() {
                assert_eq!(body, format!("to ann {}", seen.0));
                seen.0 += 1;
            } else {
                assert_eq!(body, format!("to bob {}", seen.1));
                seen.1 += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_ended_is_begun_anew() {
    let world = World::new(&["ann"]);
    let (ann, mut incoming) = world.online("ann").await;
    let before = ann.sid();
    world.engine().end_sessions(&"ann".into()).await.unwrap();
    until(&ann, |state| {
        matches!(state, ConnectionState::Offline { .. })
    })
    .await;
    until_online(&ann).await;
    assert_ne!(ann.sid(), before);
    world
        .visitor("ann")
        .await
        .send("ann", "found again")
        .await
        .unwrap();
    assert_eq!(heard(&mut incoming).await, "found again");
}

#[tokio::test(start_paused = true)]
async fn what_was_processed_does_not_come_again_in_a_new_session() {
    let world = World::new(&["ann", "bob"]);
    let store = MemoryStore::default();
    let start = || world.device("ann").store(store.clone()).start();
    let (ann, mut incoming) = start().await.unwrap();
    until_online(&ann).await;
    let bob = world.visitor("bob").await;
    bob.send("ann", "first").await.unwrap();
    assert_eq!(heard(&mut incoming).await, "first");
    // It is processed, and the server does not know.
    world.stop();
    incoming.processed().await.unwrap();
    ann.close().await;
    world.start();
    world.engine().end_sessions(&"ann".into()).await.unwrap();
    let bob = world.visitor("bob").await;
    bob.send("ann", "second").await.unwrap();
    let (_ann, mut incoming) = start().await.unwrap();
    assert_eq!(heard(&mut incoming).await, "second");
}

#[tokio::test(start_paused = true)]
async fn without_a_password_the_end_of_the_session_is_the_end() {
    let world = World::new(&["ann"]);
    let (ann, _incoming) = world.online("ann").await;
    let again = Client::builder()
        .connect_by(world.clone())
        .resume("ann", ann.sid());
    let (again, mut incoming) = again.start().await.unwrap();
    until_online(&again).await;
    world.engine().end_sessions(&"ann".into()).await.unwrap();
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::SessionEnded), "{end}");
    let mut states = again.states();
    let state = soon(states.next()).await;
    assert!(
        matches!(state, Some(ConnectionState::Ended { .. })),
        "{state:?}"
    );
    assert!(states.next().await.is_none());
    let failed = again.call(ContactList::new()).await;
    assert!(matches!(failed, Err(ClientError::Ended(_))), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_has_changed_ends_the_session_and_the_outbox_waits_for_the_new_one() {
    let world = World::new(&["ann", "bob"]);
    let (_bob, mut from_ann) = world.online("bob").await;
    let store = MemoryStore::default();
    let (ann, mut incoming) = world
        .device("ann")
        .store(store.clone())
        .start()
        .await
        .unwrap();
    until_online(&ann).await;
    world.stop();
    until(&ann, |state| {
        matches!(state, ConnectionState::Offline { .. })
    })
    .await;
    let _receipt = ann.send("bob", "unsent").await.unwrap();
    world.set_password("ann", "new");
    world.start();
    world.engine().end_sessions(&"ann".into()).await.unwrap();
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(
        matches!(&end, SessionEnd::Refused(failure) if failure.code.number() == 2),
        "{end:?}"
    );
    ann.close().await;
    let builder = Client::builder().connect_by(world.clone());
    let builder = builder.credentials("ann", "new".into()).store(store);
    let (_ann, _incoming) = builder.start().await.unwrap();
    assert_eq!(heard(&mut from_ann).await, "unsent");
}

#[tokio::test(start_paused = true)]
async fn logging_out_ends_the_session_and_forgets_it() {
    let world = World::new(&["ann"]);
    let store = MemoryStore::default();
    let (ann, mut incoming) = world
        .device("ann")
        .store(store.clone())
        .start()
        .await
        .unwrap();
    until_online(&ann).await;
    ann.log_out().await.unwrap();
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::LoggedOut), "{end}");
    let sid = ann.sid();
    ann.close().await;
    let again = Client::builder().connect_by(world.clone());
    let gone = again.store(store).start().await;
    assert!(matches!(gone, Err(StartError::NoCredentials)), "{gone:?}");
    let again = Client::builder().connect_by(world.clone());
    let (_again, mut incoming) = again.resume("ann", sid).start().await.unwrap();
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::SessionEnded), "{end}");
}

#[tokio::test(start_paused = true)]
async fn an_account_made_anew_is_heard_from_its_first_message() {
    let world = World::new(&["ann", "bob"]);
    let store = MemoryStore::default();
    let start = || world.device("ann").store(store.clone()).start();
    let (ann, mut incoming) = start().await.unwrap();
    until_online(&ann).await;
    let bob = world.visitor("bob").await;
    for body in ["1", "2", "3"] {
        bob.send("ann", body).await.unwrap();
        assert_eq!(heard(&mut incoming).await, body);
    }
    incoming.processed().await.unwrap();
    ann.close().await;
    world.engine().delete_user(&"ann".into()).await.unwrap();
    bob.send("ann", "for the new ann").await.unwrap();
    let (_ann, mut incoming) = start().await.unwrap();
    assert_eq!(heard(&mut incoming).await, "for the new ann");
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_no_events_can_still_send() {
    let world = World::new(&["ann", "bob"]);
    let (ann, incoming) = world.online("ann").await;
    let (_bob, mut from_ann) = world.online("bob").await;
    let bob = world.visitor("bob").await;
    let body = "x".repeat(60_000);
    for _ in 0..1_200 {
        bob.send_message(SendMessage::new("ann", body.as_str()))
            .await
            .unwrap();
    }
    for number in 0..3 {
        let receipt = ann.send("bob", &number.to_string()).await.unwrap();
        soon(receipt.accepted()).await.unwrap();
        assert_eq!(heard(&mut from_ann).await, number.to_string());
    }
    // Nothing of what was too much is lost.
    let mut incoming = incoming;
    let mut messages = 0;
    while messages < 1_200 {
        let event = soon(incoming.next()).await.unwrap();
        messages +=
            usize::from(matches!(event, SessionEvent::Message(event) if event.seq.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_the_incoming_leaves_messages_to_a_later_run() {
    let world = World::new(&["ann", "bob"]);
    let store = MemoryStore::default();
    let start = || world.device("ann").store(store.clone()).start();
    let (ann, incoming) = start().await.unwrap();
    drop(incoming);
    until_online(&ann).await;
    world
        .visitor("bob")
        .await
        .send("ann", "hello")
        .await
        .unwrap();
    let receipt = ann.send("bob", "sent all the same").await.unwrap();
    soon(receipt.accepted()).await.unwrap();
    ann.close().await;
    let (_ann, mut incoming) = start().await.unwrap();
    assert_eq!(heard(&mut incoming).await, "hello");
    let nothing = timeout(LONG / 24, incoming.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}
