//! A server of its own, to which nothing happens: it tells how slow this machine is just now.

use super::folder::Folder;
use super::node::{Binary, pass};
use super::process::Process;
use messenger_client::connect;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const LOGIN: &str = "bystander";

/// How long it is left alone between two visits.
const PAUSE: Duration = Duration::from_millis(400);

/// A server on a file, and a client that comes, logs in, and sends itself a message, again and again. What others ask of
/// the processors and the disk meanwhile makes that take longer: a password is the longest work that a request has.
pub(crate) struct Bystander {
    waits: Arc<Mutex<Waits>>,
    visiting: JoinHandle<()>,
    _process: Process,
}

/// How long visits took, all together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    visits: u32,
    waited: Duration,
    /// When the one began that is under way.
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
        let (client, _events) = connect(address).await.unwrap();
        client.register(LOGIN, &pass(), LOGIN).await.unwrap();
        let visiting = tokio::spawn(visit(address, Arc::clone(&waits)));
        Self {
            waits,
            visiting,
            _process: process,
        }
    }

    /// What was until now.
    pub(crate) fn waits(&self) -> Waits {
        let mut waits = *self.waits.lock().unwrap();
        if let Some(begun) = waits.under_way.take() {
            waits.visits += 1;
            waits.waited += begun.elapsed();
        }
        waits
    }

    /// How long a visit has taken since then, on the average.
    pub(crate) fn wait_since(&self, begin: &Waits) -> Duration {
        let now = self.waits();
        let visits = now.visits.saturating_sub(begin.visits).max(1);
        now.waited.saturating_sub(begin.waited) / visits
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.visiting.abort();
    }
}

async fn visit(address: SocketAddr, waits: Arc<Mutex<Waits>>) {
    loop {
        sleep(PAUSE).await;
        let begun = Instant::now();
        waits.lock().unwrap().under_way = Some(begun);
        let (client, mut events) = connect(address).await.unwrap();
        client.auth(LOGIN, &pass()).await.unwrap();
        client.send(LOGIN, "a note").await.unwrap();
        events.next_message().await.unwrap();
        let mut waits = waits.lock().unwrap();
        waits.visits += 1;
        waits.waited += begun.elapsed();
        waits.under_way = None;
    }
}
