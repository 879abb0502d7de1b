//! A connection to the database, made anew whenever it is lost.

use crate::database::Database;
use crate::error::ConnectError;
use crate::meters;
use crate::timeouts;
use crate::tls::Tls;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(2);

/// How long it is waited before the second attempt to connect; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection, or the place of one.
pub(crate) struct Link {
    servers: Arc<Servers>,
    open: Mutex<Option<Arc<Open>>>,
    under_way: AtomicUsize,
}

/// A connection, which is closed when this is dropped.
pub(crate) struct Open {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
    begun: Instant,
    /// When the last answer came, in milliseconds since then.
    heard_ms: AtomicU64,
}

impl Open {
    fn drive<S, T>((client, connection): (Client, Connection<S, T>)) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsStream + Unpin + Send + 'static,
    {
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a connection to the PostgreSQL database was lost"
                );
            }
        });
        Self {
            client,
            driver,
            begun: Instant::now(),
            heard_ms: AtomicU64::new(0),
        }
    }

    /// Whoever had a call answered says so.
    pub(crate) fn note_answer(&self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(ms, Ordering::Relaxed);
    }

    fn was_heard_since(&self, moment: Instant) -> bool {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.begun + heard >= moment
    }

    /// Closes the connection, whoever waits for an answer on it.
    pub(crate) fn close(&self) {
        self.driver.abort();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Link {
    pub(crate) fn new(servers: Arc<Servers>) -> Self {
        Self {
            servers,
            open: Mutex::default(),
            under_way: AtomicUsize::new(0),
        }
    }

    /// The connection. It is tried to make one for as long as this is awaited.
    pub(crate) async fn open(&self) -> Arc<Open> {
        let mut place = self.open.lock().await;
        if let Some(open) = &*place
            && !open.client.is_closed()
            && self
                .servers
                .silence()
                .is_none_or(|since| open.was_heard_since(since))
        {
            return Arc::clone(open);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            match self.servers.connect().await {
                Ok(open) => return Arc::clone(place.insert(Arc::new(open))),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot connect to the PostgreSQL database; trying again"
                ),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Nothing has come since this moment. The next call shall not wait as long on another connection to the same silence:
    /// one on which nothing has come since then either is made anew.
    pub(crate) fn note_silence(&self, since: Instant) {
        *self.servers.silence() = Some(since);
    }

    /// How many calls use it.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Counts a call that uses it, until what is returned is dropped.
    pub(crate) fn count(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }
}

/// A call that is counted.
pub(crate) struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The servers of a database, of which one can be written to.
pub(crate) struct Servers {
    configs: Vec<Config>,
    tls: Option<Tls>,
    /// Which one that was. It is tried first, or each connection would wait for a dead one that is named before it.
    found: AtomicUsize,
    /// Since when nothing came on one of the connections, the last time that one was given up for it.
    silence: std::sync::Mutex<Option<Instant>>,
}

impl Servers {
    pub(crate) fn of(database: &Database) -> Result<Self, ConnectError> {
        let tls = database.trusted.as_ref().map(Tls::trusting);
        Ok(Self {
            configs: database.servers.clone(),
            tls: tls.transpose()?,
            found: AtomicUsize::new(0),
            silence: std::sync::Mutex::default(),
        })
    }

    fn silence(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection to the first that can be written to.
    pub(crate) async fn connect(&self) -> Result<Open, Unconnected> {
        let mut last = Unconnected::Silent;
        let found = self.found.load(Ordering::Relaxed);
        let servers = self.configs.iter().enumerate().cycle();
        for (number, config) in servers.skip(found).take(self.configs.len()) {
            // One that stands still must not keep us from the next.
            last = match timeout(CONNECT, connect(config, self.tls.as_ref())).await {
                Ok(Ok(open)) => {
                    meters::connects().increment(1);
                    self.found.store(number, Ordering::Relaxed);
                    return Ok(open);
                }
                Ok(Err(error)) => Unconnected::Refused(error),
                Err(_) => Unconnected::Silent,
            };
        }
        Err(last)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    #[error("it has not answered within {CONNECT:?}")]
    Silent,
    #[error(transparent)]
    Refused(tokio_postgres::Error),
}

async fn connect(config: &Config, tls: Option<&Tls>) -> Result<Open, tokio_postgres::Error> {
    match connect_as(&timeouts::ask(config), tls).await {
        Err(error) if timeouts::are_refused(&error) => connect_as(config, tls).await,
        connected => connected,
    }
}

async fn connect_as(config: &Config, tls: Option<&Tls>) -> Result<Open, tokio_postgres::Error> {
    match tls {
        Some(tls) => config.connect(tls.clone()).await.map(Open::drive),
        None => config.connect(NoTls).await.map(Open::drive),
    }
}
