//! What an application meets while there is no connection.

use crate::world::{World, heard, soon, until, until_online};
use messenger_client::proto::{AddContact, ContactList};
use messenger_client::{
    Client, ClientError, Connect, ConnectionState, Interruption, SessionEnd, Stream, async_trait,
};
use std::io;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, advance, timeout};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_request_fails_at_once_or_waits_until_its_deadline() {
    let world = World::new(&["ann", "bob"]);
    let (ann, _incoming) = world.online("ann").await;
    ann.call(AddContact::new("bob")).await.unwrap();
    world.stop();
    until(&ann, |state| {
        matches!(state, ConnectionState::Offline { .. })
    })
    .await;
    let failed = ann.call(ContactList::new()).await;
    assert!(matches!(failed, Err(ClientError::Offline)), "{failed:?}");
    let began = Instant::now();
    let failed = ann.call_within(MINUTE, ContactList::new()).await;
    assert!(matches!(failed, Err(ClientError::Offline)), "{failed:?}");
    assert_eq!(began.elapsed(), MINUTE);
    let waiting = ann.call_within(60 * MINUTE, ContactList::new());
    let (list, ()) = tokio::join!(waiting, async {
        advance(MINUTE).await;
        world.start();
    });
    assert_eq!(list.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_told() {
    let world = World::new(&["ann", "bob"]);
    let (ann, _incoming) = world.online("ann").await;
    world.storage().set_hanging(true);
    let failed = ann
        .call_within(Duration::from_secs(1), AddContact::new("bob"))
        .await;
    assert!(matches!(failed, Err(ClientError::TimedOut)), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_are_told() {
    let world = World::new(&["ann"]);
    world.stop();
    let (ann, _incoming) = world.device("ann").start().await.unwrap();
    let mut states = ann.states();
    let mut waits = Vec::new();
    while waits.len() < 10 {
        if let ConnectionState::Offline { why, until } = soon(states.next()).await.unwrap() {
            assert!(matches!(why, Interruption::NotConnected(_)), "{why:?}");
            waits.push(until.duration_since(Instant::now().into_std()));
        }
    }
    assert!(waits[0] < Duration::from_secs(2), "{waits:?}");
    assert!(waits[9] >= Duration::from_secs(30), "{waits:?}");
    assert!(waits[9] <= Duration::from_secs(60), "{waits:?}");
    world.start();
    until_online(&ann).await;
}

/// At first a server that says nothing any more once a client has logged in; later a usual one.
#[derive(Debug)]
struct SilentAtFirst {
    world: World,
    ends: Mutex<Vec<DuplexStream>>,
}

#[async_trait]
impl Connect for SilentAtFirst {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        if !self.ends.lock().unwrap().is_empty() {
            return self.world.connect().await;
        }
        let (client, mut server) = duplex(1 << 16);
        let said = concat!(
            r#"{"action":"welcome","message":"","time":1}"#,
            r#"{"action":"auth","data":{"status":0,"sid":"of another","uid":"ann","cid":"ann"}}"#
        );
        server.write_all(said.as_bytes()).await?;
        self.ends.lock().unwrap().push(server);
        Ok(Box::new(client))
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_left() {
    let world = World::new(&["ann"]);
    let connector = SilentAtFirst {
        world: world.clone(),
        ends: Mutex::default(),
    };
    let builder = Client::builder().connect_by(connector);
    let builder = builder.credentials("ann", "secret".into());
    let (ann, mut incoming) = builder.start().await.unwrap();
    until_online(&ann).await;
    // A connection on which nothing is going on is asked for a sign of life, which does not come.
    let state = until(&ann, |state| {
        matches!(state, ConnectionState::Offline { .. })
    })
    .await;
    let ConnectionState::Offline { why, .. } = state else {
        unreachable!();
    };
    assert!(matches!(why, Interruption::Silent), "{why}");
    until_online(&ann).await;
    world
        .visitor("ann")
        .await
        .send("ann", "still there?")
        .await
        .unwrap();
    assert_eq!(heard(&mut incoming).await, "still there?");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_happens_is_kept() {
    let world = World::new(&["ann"]);
    let (ann, _incoming) = world.online("ann").await;
    advance(60 * MINUTE).await;
    // Time that advances at once is no time for answers; this is.
    let other_state = until(&ann, |state| !matches!(state, ConnectionState::Online));
    assert!(timeout(60 * MINUTE, other_state).await.is_err());
    assert_eq!(world.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_is_left_and_can_be_gone_on_with() {
    let world = World::new(&["ann"]);
    let store = messenger_client::MemoryStore::default();
    let start = || world.device("ann").store(store.clone()).start();
    let (ann, mut incoming) = start().await.unwrap();
    until_online(&ann).await;
    let sid = ann.sid();
    drop(ann);
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::Closed), "{end}");
    world
        .visitor("ann")
        .await
        .send("ann", "meanwhile")
        .await
        .unwrap();
    let (ann, mut incoming) = start().await.unwrap();
    assert_eq!(heard(&mut incoming).await, "meanwhile");
    assert_eq!(ann.sid(), sid);
}
