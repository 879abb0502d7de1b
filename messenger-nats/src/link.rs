//! The connection to NATS: a task that sends and a task that hears.

use crate::frame::Numbered;
use crate::outbox::{Next, Outbox};
use crate::peers::Peers;
use crate::servers::Servers;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often a node that has nothing to tell says that it is there.
const PULSE: Duration = Duration::from_secs(1);

/// How long a server may leave a ping without an answer; it is away after two of them.
const PING: Duration = Duration::from_secs(1);

/// How long a server may take to let a node in.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a frame may wait to be taken by the connection. It is dropped after that, and the others see it.
const SEND: Duration = Duration::from_secs(1);

/// How many frames the connection has taken and not sent.
const SENDING: usize = 64;

/// How many frames of others wait to be heard; when there are more, some are lost, and connections look into the
/// store.
const HEARING: usize = 256;

/// The longest wait between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of the connection.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Something may have been missed.
    pub(crate) gap: Notify,
    /// Why there is no connection, or the last thing that was wrong with it.
    trouble: Mutex<Option<String>>,
}

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                *self.trouble.lock() = None;
                self.gap.notify_one();
            }
            Event::SlowConsumer(_) => {
                tracing::warn!("notices of other nodes came too fast, and some are lost");
                self.gap.notify_one();
            }
            trouble => {
                tracing::warn!(%trouble, "the connection to NATS is in trouble");
                *self.trouble.lock() = Some(trouble.to_string());
            }
        }
    }
}

/// Connects, now or as soon as there is a server.
pub(crate) async fn connect(servers: &Servers, health: Arc<Health>) -> io::Result<Client> {
    *health.trouble.lock() = Some("not connected yet".to_owned());
    let noting = Arc::clone(&health);
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
            let health = Arc::clone(&noting);
            async move { health.note(&event) }
        });
    if let Some(path) = &servers.credentials {
        options = options.credentials_file(path).await?;
    }
    if let Some(path) = &servers.authorities {
        options = options.add_root_certificates(path.clone());
    }
    options.connect(servers.addresses.clone()).await.map_err(io::Error::other)
}

/// 50 ms, doubled with each attempt.
fn delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt).unwrap_or(u32::MAX).min(5);
    RETRY.min(Duration::from_millis(50) * 2_u32.pow(doublings))
}

/// Sends what is in the outbox, until it is told to stop.
pub(crate) async fn send(
    client: Client,
    outbox: Arc<Outbox>,
    node: u64,
    subject: String,
    stop: CancellationToken,
) {
    let mut sending = Sending { client, subject, numbered: Numbered::new(node) };
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = outbox.filled() => {}
            _ = pulse.tick() => sending.send(sending_pulse()).await,
            () = stop.cancelled() => break,
        }
        while let Some(next) = outbox.take() {
            sending.send(next).await;
        }
    }
    sending.say_bye().await;
}

/// A frame without notices.
fn sending_pulse() -> Next {
    Next { notices: Vec::new(), dropped: false }
}

struct Sending {
    client: Client,
    subject: String,
    numbered: Numbered,
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

    /// What cannot be sent now is not sent: its number is used, so the others will see it.
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
            let _ = timeout(SEND, self.client.flush()).await;
        }
    }
}

/// Hears the others. `deliver` is given their notices, and `resync` is called when some may be missing.
pub(crate) async fn hear(
    mut subscriber: Subscriber,
    health: Arc<Health>,
    deliver: impl Fn(&[u8]),
    resync: impl Fn(),
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
                for notice in &heard.notices {
                    deliver(notice);
                }
                if heard.gap {
                    resync();
                }
            }
            _ = tick.tick() => {
                if peers.are_silent(Instant::now()) {
                    resync();
                }
            }
            () = health.gap.notified() => resync(),
            () = stop.cancelled() => break,
        }
    }
}
