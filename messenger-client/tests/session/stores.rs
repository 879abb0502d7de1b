//! Where a session keeps its state.

use crate::world::{World, heard, soon, until_online};
use messenger_client::{
    Client, FileStore, MemoryStore, SendError, SessionEnd, StartError, StateStore, async_trait,
};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_folder_keeps_session_and_outbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let world = World::new(&["ann", "bob"]);
    let start = || {
        let store = FileStore::open(&path).unwrap();
        world.device("ann").store(store).start()
    };
    let (ann, mut incoming) = start().await.unwrap();
    until_online(&ann).await;
    let sid = ann.sid();
    world
        .visitor("bob")
        .await
        .send("ann", "first")
        .await
        .unwrap();
    assert_eq!(heard(&mut incoming).await, "first");
    incoming.processed().await.unwrap();
    world.stop();
    let _receipt = ann.send("bob", "later").await.unwrap();
    let busy = FileStore::open(&path).unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
    ann.close().await;
    // What a power cut has left half written is nothing.
    fs::write(path.join("unfinished.tmp"), "{\"action").unwrap();
    world.start();
    let (_bob, mut from_ann) = world.online("bob").await;
    world
        .visitor("bob")
        .await
        .send("ann", "second")
        .await
        .unwrap();
    let (ann, mut incoming) = start().await.unwrap();
    assert_eq!(heard(&mut from_ann).await, "later");
    assert_eq!(heard(&mut incoming).await, "second");
    assert_eq!(ann.sid(), sid);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_a_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let mut store = FileStore::open(&path).unwrap();
    store.put("session", "secret".into()).await.unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.clone()), 0o700);
    assert_eq!(mode(path.join("session")), 0o600);
    store.delete("session").await.unwrap();
    store.delete("session").await.unwrap();
    assert!(store.load().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_state_that_makes_no_sense_is_told() {
    let world = World::new(&["ann"]);
    let mut store = MemoryStore::default();
    store.put("session", "{}".into()).await.unwrap();
    let started = world.device("ann").store(store).start().await;
    assert!(
        matches!(&started, Err(StartError::Unreadable { name }) if name == "session"),
        "{started:?}"
    );
}

#[tokio::test]
async fn a_state_is_one_users() {
    let world = World::new(&["ann", "bob"]);
    let store = MemoryStore::default();
    let (ann, _incoming) = world
        .device("ann")
        .store(store.clone())
        .start()
        .await
        .unwrap();
    ann.close().await;
    let started = world.device("bob").store(store).start().await;
    assert!(
        matches!(started, Err(StartError::OtherUser { .. })),
        "{started:?}"
    );
}

/// Fails when told to.
#[derive(Clone, Default)]
struct Failing {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl StateStore for Failing {
    async fn load(&mut self) -> io::Result<Vec<(String, bytes::Bytes)>> {
        self.check()?;
        self.store.load().await
    }

    async fn put(&mut self, name: &str, value: bytes::Bytes) -> io::Result<()> {
        self.check()?;
        self.store.put(name, value).await
    }

    async fn delete(&mut self, name: &str) -> io::Result<()> {
        self.check()?;
        self.store.delete(name).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_kept_is_not_sent() {
    let world = World::new(&["ann", "bob"]);
    let store = Failing::default();
    let (ann, _incoming) = world
        .device("ann")
        .store(store.clone())
        .start()
        .await
        .unwrap();
    until_online(&ann).await;
    store.fails.store(true, Ordering::Relaxed);
    let refused = ann.send("bob", "hello").await;
    assert!(matches!(refused, Err(SendError::Store(_))), "{refused:?}");
    assert_eq!(ann.outbox(), (0, 0));
    store.fails.store(false, Ordering::Relaxed);
    let receipt = ann.send("bob", "hello").await.unwrap();
    soon(receipt.accepted()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgets_ends_the_session() {
    let world = World::new(&["ann", "bob"]);
    let store = Failing::default();
    let (ann, mut incoming) = world
        .device("ann")
        .store(store.clone())
        .start()
        .await
        .unwrap();
    until_online(&ann).await;
    let bob = world.visitor("bob").await;
    bob.send("ann", "hello").await.unwrap();
    assert_eq!(heard(&mut incoming).await, "hello");
    store.fails.store(true, Ordering::Relaxed);
    let end = soon(incoming.next()).await.unwrap_err();
    assert!(matches!(end, SessionEnd::Store(_)), "{end}");
    let started = world.device("ann").store(store).start().await;
    assert!(matches!(started, Err(StartError::Store(_))), "{started:?}");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let started = Client::builder().start().await;
    assert!(matches!(started, Err(StartError::NoServer)), "{started:?}");
    let started = Client::builder().server("http://host").start().await;
    assert!(
        matches!(started, Err(StartError::Address { .. })),
        "{started:?}"
    );
    let started = Client::builder().server("host").start().await;
    assert!(
        matches!(started, Err(StartError::NoCredentials)),
        "{started:?}"
    );
}
