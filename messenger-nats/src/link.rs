//! The connection to NATS: a task that sends and a task that hears.

use crate::frame::Numbered;
use crate::health::Health;
use crate::outbox::{Next, Outbox};
use crate::peers::Peers;
use crate::servers::{Access, Servers};
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use messenger_core::entropy::NoEntropy;
use messenger_core::notifier::{LocalNotifier, Notice, Notifier};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often a node that has nothing to tell says that it is there, and whether the others are is asked.
const PULSE: Duration = Duration::from_secs(1);

/// How long a server may leave a ping without an answer; it is away after two of them.
const PING: Duration = Duration::from_secs(1);

/// How long a server may take to let a node in.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a frame may wait to be taken by the connection. It is dropped after that, and the others see it.
const SEND: Duration = Duration::from_secs(1);

/// How many frames the connection has taken and not sent.
const SENDING: usize = 64;

/// How many frames of others wait to be heard. When there are more, some are lost, and connections look into the
/// store.
const HEARING: usize = 512;

/// The longest wait between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Why there is no notifier. (That NATS is away is no reason: it is waited for.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The file of certificates cannot be read.
    #[error("the certificates for NATS cannot be read")]
    Certificates(#[source] io::Error),
    /// The file of credentials cannot be read, or holds none.
    #[error("the credentials for NATS cannot be read")]
    Credentials(#[source] io::Error),
    /// There is no randomness to name this node by.
    #[error("this node cannot be given a name among the others")]
    Entropy(#[source] NoEntropy),
    /// The client of NATS refuses what it is told.
    #[error("the client of NATS cannot be used like this")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Connects, now or as soon as there is a server.
pub(crate) async fn connect(
    servers: &Servers,
    health: Arc<Health>,
) -> Result<Client, ConnectError> {
    let mut options = ConnectOptions::new()
        .name("messenger")
        .no_echo()
        .require_tls(servers.is_tls)
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .client_capacity(SENDING)
        .subscription_capacity(HEARING)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(delay)
        .event_callback(move |event| {
            let health = Arc::clone(&health);
            async move { health.note(&event) }
        });
    options = match servers.access.clone() {
        Some(Access::User { name, password }) => options.user_and_password(name, password),
        Some(Access::Token(token)) => options.token(token),
        Some(Access::Credentials(path)) => options
            .credentials_file(path)
            .await
            .map_err(ConnectError::Credentials)?,
        None => options,
    };
    if let Some(path) = &servers.authorities {
        // It is read with every attempt to connect, where that it is not there would be tried again for ever.
        File::open(path).map_err(ConnectError::Certificates)?;
        options = options.add_root_certificates(path.clone());
    }
    let client = options.connect(servers.addresses.clone()).await;
    client.map_err(|error| ConnectError::Client(error.into()))
}

/// 50 ms, doubled with each attempt.
fn delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(5);
    RETRY.min(Duration::from_millis(50) * 2_u32.pow(doublings))
}

/// Sends what is in the outbox, until it is told to stop.
pub(crate) async fn send(mut sending: Sending, outbox: Arc<Outbox>, stop: CancellationToken) {
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            () = outbox.filled() => {}
            _ = pulse.tick() => sending.send(Next::NOTHING).await,
            () = stop.cancelled() => {}
        }
        while let Some(next) = outbox.take() {
            sending.send(next).await;
        }
    }
    sending.say_bye().await;
}

/// A node's stream of frames.
pub(crate) struct Sending {
    pub(crate) client: Client,
    pub(crate) subject: String,
    pub(crate) numbered: Numbered,
}

impl Sending {
    async fn send(&mut self, next: Next) {
        if next.dropped {
            self.numbered.skip();
        }
        for frame in self.numbered.notices(&next.notices) {
            self.publish(frame).await;
        }
    }

    /// What cannot be sent now is not sent: its number is used, so the others will see it. (While there is no
    /// connection, the client would take what it is given, and some frames later not answer.)
    async fn publish(&self, frame: Bytes) {
        if self.client.connection_state() != State::Connected {
            return;
        }
        let publish = self.client.publish(self.subject.clone(), frame);
        if let Ok(Err(error)) = timeout(SEND, publish).await {
            tracing::warn!(%error, "a frame could not be sent through NATS");
        }
    }

    async fn say_bye(mut self) {
        let bye = self.numbered.bye();
        self.publish(bye).await;
        if self.client.connection_state() == State::Connected {
            // A question that nobody answers comes back from the server, which then has all that was sent before.
            // (A flush ends earlier, and when the connection is closed with something unread, the rest is lost.)
            let question = self
                .client
                .request(format!("{}.bye", self.subject), Bytes::new());
            let _ = timeout(SEND, question).await;
        }
    }
}

/// Hears the others, and tells this node's connections. What may be missing is a gap.
pub(crate) async fn hear(
    client: Client,
    mut subscriber: Subscriber,
    health: Arc<Health>,
    local: Arc<LocalNotifier>,
    stop: CancellationToken,
) {
    let mut peers = Peers::default();
    let mut tick = interval(PULSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = subscriber.next() => {
                let Some(message) = message else { break };
                let heard = peers.hear(&message.payload, Instant::now());
                let told = heard.notices.iter().filter(|notice| tell(&local, notice)).count();
                if heard.gap || told < heard.notices.len() {
                    health.count_gap();
                }
            }
            _ = tick.tick() => {
                let is_away = client.connection_state() != State::Connected;
                if is_away || peers.are_silent(Instant::now()) {
                    health.count_gap();
                }
            }
            () = stop.cancelled() => break,
        }
    }
}

/// False when it is no notice.
fn tell(local: &LocalNotifier, notice: &[u8]) -> bool {
    let decoded = Notice::decode(notice);
    let is_one = decoded.is_some();
    if let Some((user, notice)) = decoded {
        local.notify(&user, notice);
    }
    is_one
}
