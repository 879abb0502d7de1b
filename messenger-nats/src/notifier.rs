//! The notifier.

use crate::link::{self, Health};
use crate::outbox::Outbox;
use crate::servers::Servers;
use messenger_core::notifier::{LocalNotifier, Mailbox, Notice, Notifier, Subscription};
use messenger_core::proto::UserId;
use metrics::Counter;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Carries notices between nodes over NATS, and within this one beside it.
///
/// It works while NATS is away, within this node; what other nodes have to tell is then found in the store a few
/// seconds later. A sender's own copy that is lost is not found anywhere.
///
/// Dropping it ends its tasks; [`close`](Self::close) sends what waits first.
pub struct NatsNotifier {
    local: Arc<LocalNotifier>,
    outbox: Arc<Outbox>,
    health: Arc<Health>,
    gaps: watch::Receiver<u64>,
    dropped: Counter,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Why there is no notifier. (That NATS is away is no reason: it is waited for.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A file cannot be read, or has no credentials or certificates.
    #[error("the credentials or certificates for NATS cannot be used")]
    Files(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("there are no random numbers to call this node by")]
    Entropy(#[source] getrandom::Error),
    /// The subscription was refused.
    #[error("NATS cannot be listened to")]
    Subscribe(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NatsNotifier {
    /// Begins to connect, and goes on with it for as long as it takes.
    ///
    /// To be called on a tokio runtime, which carries out its tasks.
    ///
    /// # Errors
    /// What is needed for connecting is not there.
    pub async fn connect(servers: Servers) -> Result<Self, ConnectError> {
        let health = Arc::new(Health::default());
        let client = link::connect(&servers, Arc::clone(&health)).await;
        let client = client.map_err(ConnectError::Files)?;
        let everybody = format!("{}.from.*", servers.prefix);
        let subscriber = client.subscribe(everybody).await;
        let subscriber = subscriber.map_err(|error| ConnectError::Subscribe(error.into()))?;
        let node = getrandom::u64().map_err(ConnectError::Entropy)?;
        let (tell_gap, gaps) = watch::channel(0);
        let (local, outbox) = (Arc::new(LocalNotifier::new()), Arc::new(Outbox::default()));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let subject = format!("{}.from.{node:016x}", servers.prefix);
        tasks.spawn(link::send(
            client,
            Arc::clone(&outbox),
            node,
            subject,
            stop.clone(),
        ));
        let told = Arc::clone(&local);
        let resync = move || tell_gap.send_modify(|gaps| *gaps += 1);
        let also = resync.clone();
        let deliver = move |bytes: &[u8]| match Notice::decode(bytes) {
            Some((user, notice)) => told.notify(&user, notice),
            None => also(),
        };
        tasks.spawn(link::hear(
            subscriber,
            Arc::clone(&health),
            deliver,
            resync,
            stop.clone(),
        ));
        Ok(Self {
            local,
            outbox,
            health,
            gaps,
            dropped: metrics::counter!("messenger_notices_dropped_total"),
            stop,
            tasks,
        })
    }

    /// Sends what waits, tells the other nodes that this one goes, and ends, all within two seconds.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
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
}

impl fmt::Debug for NatsNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsNotifier")
            .field("trouble", &self.health.trouble())
            .finish_non_exhaustive()
    }
}
