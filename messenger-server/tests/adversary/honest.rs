//! Clients that only want to talk.

use super::support::SOON;
use messenger_client::proto::Password;
use messenger_client::{Client, Events, connect};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

const CLIENTS: usize = 100;

/// Tells those apart that come one after the other.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// How often each sends a message.
const EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Honest {
    began: Instant,
    clients: Vec<One>,
}

#[derive(Clone)]
struct One {
    client: Client,
    events: Arc<Mutex<Events>>,
    partner: String,
    /// Where the copies of its own messages come from, which do not count.
    login: String,
}

impl Honest {
    /// Registers and logs in; each has a partner.
    pub(crate) async fn new(address: &str) -> Self {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let login = |number: usize| format!("honest-{run}-{number}");
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let (client, events) = connect(address).await.unwrap();
            let pass = Password::md5_of("secret");
            client
                .register(&login(number), &pass, &login(number))
                .await
                .unwrap();
            client.auth(&login(number), &pass).await.unwrap();
            clients.push(One {
                client,
                events: Arc::new(Mutex::new(events)),
                partner: login(number ^ 1),
                login: login(number),
            });
        }
        Self {
            began: Instant::now(),
            clients,
        }
    }

    /// All talk for so long, and every message must arrive. How long one took from its sender to its
    /// recipient, but for the slowest of a hundred.
    pub(crate) async fn talk(&mut self, time: Duration) -> Duration {
        let rounds = u32::try_from(time.as_millis() / EVERY.as_millis()).unwrap();
        let began = self.began;
        let talking = self.clients.iter().enumerate().map(|(number, one)| {
            let first = EVERY * u32::try_from(number).unwrap() / u32::try_from(CLIENTS).unwrap();
            let sending = tokio::spawn(one.clone().send(rounds, first, began));
            let receiving = tokio::spawn(one.clone().receive(rounds, began));
            (sending, receiving)
        });
        let mut took = Vec::new();
        for (sending, receiving) in talking.collect::<Vec<_>>() {
            sending.await.unwrap();
            took.extend(receiving.await.unwrap());
        }
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

impl One {
    async fn send(self, rounds: u32, first: Duration, began: Instant) {
        let start = tokio::time::Instant::now() + first;
        let mut ticks = interval_at(start, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..rounds {
            ticks.tick().await;
            let now = began.elapsed().as_nanos().to_string();
            let sent = timeout(SOON, self.client.send(self.partner.as_str(), &now)).await;
            sent.expect("an answer").expect("accepted");
        }
    }

    async fn receive(self, rounds: u32, began: Instant) -> Vec<Duration> {
        let mut events = self.events.lock().await;
        let mut arrived = Vec::new();
        while arrived.len() < rounds as usize {
            let event = timeout(SOON, events.next_message())
                .await
                .expect("nothing is lost");
            let message = event.expect("the connection holds").message.clone();
            if message.from.as_str() != self.login {
                let sent = Duration::from_nanos(message.body.as_str().parse().unwrap());
                arrived.push(began.elapsed() - sent);
            }
        }
        arrived
    }
}
