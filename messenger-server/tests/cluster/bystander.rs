//! A server of its own, to which nothing happens: it tells how slow this machine is just now.

use super::folder::Folder;
use super::node::{Binary, pass};
use super::process::Process;
use messenger_client::{Client, Events, connect};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const LOGIN: &str = "bystander";

/// How long it is left alone between two messages.
const PAUSE: Duration = Duration::from_millis(100);

/// A server on a file, and a client that sends itself a message after the other: each takes what processors and disk are
/// asked for by others meanwhile.
pub(crate) struct Bystander {
    waits: Arc<Mutex<Waits>>,
    sending: JoinHandle<()>,
    _process: Process,
}

/// How long messages took until they were given, all together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    messages: u32,
    waited: Duration,
    /// When the one was sent that is under way.
    under_way: Option<Instant>,
}

impl Bystander {
    pub(crate) async fn start(folder: &Arc<Folder>) -> Self {
        let store = folder.data(LOGIN).join("store");
        let store = format!("sqlite:{}", store.display());
        let arguments = ["--no-rate-limits=on", "--store", &store];
        let started = Binary::of_today().start(&arguments, folder, LOGIN).await;
        let (process, address) = started.expect("it starts");
        let waits = Arc::<Mutex<Waits>>::default();
        let (client, events) = log_in(address).await;
        let sending = tokio::spawn(send(client, events, Arc::clone(&waits)));
        Self {
            waits,
            sending,
            _process: process,
        }
    }

    /// What was until now.
    pub(crate) fn waits(&self) -> Waits {
        let mut waits = *self.waits.lock().unwrap();
        if let Some(sent) = waits.under_way.take() {
            waits.messages += 1;
            waits.waited += sent.elapsed();
        }
        waits
    }

    /// How long a message has taken since then, on the average.
    pub(crate) fn wait_since(&self, begin: &Waits) -> Duration {
        let now = self.waits();
        let messages = now.messages.saturating_sub(begin.messages).max(1);
        now.waited.saturating_sub(begin.waited) / messages
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

async fn log_in(address: SocketAddr) -> (Client, Events) {
    let (client, events) = connect(address).await.unwrap();
    client.register(LOGIN, &pass(), LOGIN).await.unwrap();
    client.auth(LOGIN, &pass()).await.unwrap();
    (client, events)
}

async fn send(client: Client, mut events: Events, waits: Arc<Mutex<Waits>>) {
    loop {
        sleep(PAUSE).await;
        let sent = Instant::now();
        waits.lock().unwrap().under_way = Some(sent);
        client.send(LOGIN, "a note").await.unwrap();
        events.next_message().await.unwrap();
        let mut waits = waits.lock().unwrap();
        waits.messages += 1;
        waits.waited += sent.elapsed();
        waits.under_way = None;
    }
}
