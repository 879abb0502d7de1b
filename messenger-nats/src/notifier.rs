//! The notifier.

use crate::frame::Numbered;
use crate::health::Health;
use crate::link::{self, ConnectError, Sending};
use crate::outbox::Outbox;
use crate::servers::Servers;
use messenger_core::entropy::{Entropy, OsEntropy};
use messenger_core::notifier::{
    LocalNotifier, Mailbox, Notice, Notifier, NotifierError, Subscription,
};
use messenger_core::proto::UserId;
use metrics::Counter;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long [`NatsNotifier::close`] may take.
const CLOSE: Duration = Duration::from_secs(2);

/// Carries notices between nodes over NATS, and within this one beside it.
///
/// It works while NATS is away, within this node; what other nodes have to tell is then found in the store a few
/// seconds later. A sender's own copy that is lost is not found anywhere.
///
/// Dropping it ends its tasks; [`close`](Self::close) sends what waits first.
///
/// It counts, with the `metrics` facade, `messenger_notices_dropped_total`, what other nodes were not told because more
/// than 4 MiB waited to be sent, `messenger_notifier_gaps_total`, how often notices of theirs may have been missed, and
/// `messenger_notifier_connects_total`, how often it has connected.
pub struct NatsNotifier {
    servers: Servers,
    local: Arc<LocalNotifier>,
    outbox: Arc<Outbox>,
    health: Arc<Health>,
    dropped: Counter,
    stop: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
}

impl NatsNotifier {
    /// Begins to connect, and goes on with it for as long as it takes; [`check`](Notifier::check) tells whether it
    /// is connected.
    ///
    /// To be called on a tokio runtime, which carries out its tasks.
    ///
    /// # Errors
    /// What is needed for connecting is not there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing but perhaps an attempt to connect, which ends once NATS answers. Other nodes were told
    /// nothing.
    pub async fn connect(servers: Servers) -> Result<Self, ConnectError> {
        let mut node = [0; 8];
        OsEntropy.fill(&mut node).map_err(ConnectError::Entropy)?;
        let node = u64::from_le_bytes(node);
        let health = Arc::new(Health::new());
        let client = link::connect(&servers, Arc::clone(&health)).await?;
        let everybody = format!("{}.from.*", servers.prefix());
        let subscriber = client.subscribe(everybody).await;
        let subscriber = subscriber.map_err(|error| ConnectError::Client(error.into()))?;
        let sending = Sending {
            client: client.clone(),
            subject: format!("{}.from.{node:016x}", servers.prefix()),
            numbered: Numbered::new(node),
        };
        let notifier = Self {
            servers,
            local: Arc::new(LocalNotifier::new()),
            outbox: Arc::new(Outbox::default()),
            health,
            dropped: metrics::counter!("messenger_notices_dropped_total"),
            stop: CancellationToken::new(),
            tasks: Mutex::new(JoinSet::new()),
        };
        let (outbox, stop) = (Arc::clone(&notifier.outbox), notifier.stop.clone());
        let (health, local) = (Arc::clone(&notifier.health), Arc::clone(&notifier.local));
        let mut tasks = notifier.tasks.lock();
        tasks.spawn(link::send(sending, outbox, stop.clone()));
        tasks.spawn(link::hear(client, subscriber, health, local, stop));
        drop(tasks);
        Ok(notifier)
    }

    /// Sends what waits, tells the other nodes that this one goes, and ends, all within two seconds. Within this node
    /// it goes on.
    ///
    /// # Cancel safety
    /// When the future is dropped, it ends at once.
    pub async fn close(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(CLOSE, ended).await.is_err() {
            tracing::warn!("what waited to be sent through NATS was not taken in time");
        }
    }
}

impl Notifier for NatsNotifier {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        // How many there are on other nodes is not known.
        Subscription::new(self.local.subscribe(user, mailbox))
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        if !self.outbox.push(notice.encode(user)) {
            self.dropped.increment(1);
        }
        self.local.notify(user, notice);
    }

    fn notify_all(&self, user: &UserId, notices: Vec<Notice>) {
        for notice in &notices {
            if !self.outbox.push(notice.encode(user)) {
                self.dropped.increment(1);
            }
        }
        self.local.notify_all(user, notices);
    }

    fn gaps(&self) -> u64 {
        self.health.gaps()
    }

    fn check(&self) -> Result<(), NotifierError> {
        match self.health.trouble() {
            Some(trouble) => {
                let trouble = format!("NATS at {}: {trouble}", self.servers);
                Err(NotifierError::new(trouble))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for NatsNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsNotifier")
            .field("servers", &self.servers)
            .field("trouble", &self.health.trouble())
            .finish_non_exhaustive()
    }
}
