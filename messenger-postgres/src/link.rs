//! A connection to the database, made anew whenever it is lost.

use crate::database::Database;
use crate::error::ConnectError;
use crate::meters;
use crate::timeouts;
use crate::tls::Tls;
use futures_util::future::{select_all, select_ok};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a server is waited for before the next is tried beside it.
const HEAD_START: Duration = Duration::from_secs(1);

/// For so long no server is waited for after one was silent, counted from what it has not answered.
const SILENT_LATELY: Duration = Duration::from_secs(10);

/// How long it is waited before the second attempt to connect; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked whether a server is there that takes long to do something.
const WATCHED_EVERY: Duration = Duration::from_secs(2);

/// How often it may turn out not to be before it is believed.
const WATCHED_AGAIN: usize = 1;

/// How often it is looked whether commits still wait for a standby.
const STANDBY_EVERY: Duration = Duration::from_millis(500);

/// A row when a commit has waited longer for a standby than it does when there is one. One that nobody waits for any more is
/// among them: the server lets it wait for as long as the standby is away.
const COMMITS_WAIT: &str =
    "SELECT FROM pg_stat_activity WHERE usesysid = quote_ident(current_user)::regrole AND wait_event = 'SyncRep'
    AND xact_start < clock_timestamp() - interval '2 seconds' LIMIT 1";

/// What of PostgreSQL says that it has given up to wait for a standby.
const WAITS_FOR_STANDBY: &str = "SyncRepWaitForLSN";

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Reads,
    Writes,
}

/// A connection, or the place of one.
pub(crate) struct Link {
    servers: Arc<Servers>,
    what: For,
    place: Mutex<Place>,
    under_way: AtomicUsize,
}

/// What there is of a connection.
#[derive(Default)]
struct Place {
    open: Option<Arc<Open>>,
    /// What makes it anew. Whoever waits for it goes on with it, and leaves it to the next when their time is over: if each
    /// began again, none would ever come to its end where many wait for a short time each.
    making: Option<Pin<Box<dyn Future<Output = Open> + Send>>>,
}

/// A connection, which is closed when this is dropped.
pub(crate) struct Open {
    pub(crate) client: Client,
    /// The number of the server that it leads to.
    server: usize,
    driver: JoinHandle<()>,
    begun: Instant,
    /// When the last answer came, in milliseconds since then.
    heard_ms: AtomicU64,
}

impl Open {
    fn drive<S, T>(server: usize, (client, mut connection): (Client, Connection<S, T>)) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsStream + Unpin + Send + 'static,
    {
        let driver = tokio::spawn(async move {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    // It comes before the end of the answer, so that nobody takes it for one.
                    Ok(AsyncMessage::Notice(notice)) if is_unconfirmed(&notice) => {
                        tracing::warn!(
                            "the PostgreSQL database was made to give up waiting for a standby; what was to be stored \
                             is not taken for stored"
                        );
                        break;
                    }
                    Ok(AsyncMessage::Notice(notice)) => {
                        tracing::info!("the PostgreSQL database says: {notice}");
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "a connection to the PostgreSQL database was lost"
                        );
                        break;
                    }
                }
            }
        });
        Self {
            client,
            server,
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

    pub(crate) fn was_heard_since(&self, moment: Instant) -> bool {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.begun + heard >= moment
    }

    /// Whether commits wait for a standby. If it cannot be asked, whoever uses it finds out why.
    async fn waits_for_standby(&self) -> bool {
        let asked = timeout(CONNECT, self.client.query_typed(COMMITS_WAIT, &[])).await;
        asked.is_ok_and(|rows| rows.is_ok_and(|rows| !rows.is_empty()))
    }

    /// Closes the connection, whoever waits for an answer on it.
    pub(crate) fn close(&self) {
        self.driver.abort();
    }
}

fn warn_of_standbys() {
    tracing::warn!(
        "the PostgreSQL database waits for its synchronous standbys; nothing can be stored until one is there"
    );
}

/// Whether something was committed without the standby that should have confirmed it. (Other warnings have the same code, and
/// the sentence is in the language of the server.)
fn is_unconfirmed(notice: &DbError) -> bool {
    *notice.code() == SqlState::WARNING && notice.routine() == Some(WAITS_FOR_STANDBY)
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Link {
    pub(crate) fn new(servers: Arc<Servers>, what: For) -> Self {
        Self {
            servers,
            what,
            place: Mutex::default(),
            under_way: AtomicUsize::new(0),
        }
    }

    pub(crate) fn what(&self) -> For {
        self.what
    }

    /// The connection, which is made if there is none, or if another server can be written to now than the one that it leads to.
    pub(crate) async fn open(&self) -> Arc<Open> {
        let mut place = self.place.lock().await;
        if let Some(open) = &place.open
            && !open.client.is_closed()
            && open.server == self.servers.found()
            && self
                .servers
                .silence()
                .is_none_or(|since| open.was_heard_since(since))
        {
            return Arc::clone(open);
        }
        let making = place.making.get_or_insert_with(|| {
            let (servers, what) = (Arc::clone(&self.servers), self.what);
            Box::pin(async move {
                match what {
                    For::Reads => servers.reconnect().await,
                    For::Writes => servers.reconnect_to_write().await,
                }
            })
        });
        let open = Arc::new(making.await);
        place.making = None;
        place.open = Some(Arc::clone(&open));
        open
    }

    /// Nothing has come on this connection since this moment. The next call shall not wait as long on another connection to the
    /// same silence: one on which nothing has come since then either is made anew.
    pub(crate) fn note_silence(&self, open: &Open, since: Instant) {
        if open.server == self.servers.found() {
            *self.servers.silence() = Some(since);
        }
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
    /// Since when nothing came on one of the connections to it, the last time that one was given up for it.
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

    fn found(&self) -> usize {
        self.found.load(Ordering::Relaxed)
    }

    /// From now on this one is the server that is used. Another one's silence says nothing of it.
    fn use_server_of(&self, open: Open) -> Open {
        if self.found.swap(open.server, Ordering::Relaxed) != open.server {
            *self.silence() = None;
        }
        open
    }

    fn silence(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a connection to the first that can be written to, if there is one.
    pub(crate) async fn connect(&self) -> Result<Open, Unconnected> {
        let attempts = self.in_turn().map(|(number, turn)| {
            Box::pin(async move {
                sleep(HEAD_START * turn).await;
                self.connect_to(number).await
            })
        });
        let (open, _) = select_ok(attempts).await?;
        Ok(self.use_server_of(open))
    }

    /// Waits for what is done on a connection that was just made, however long it takes; but not for a server that has gone
    /// without a word, or at whose place there is another one now.
    pub(crate) async fn watch<T>(&self, done: impl Future<Output = T>) -> Result<T, Unconnected> {
        let server = self.found();
        let gone = async {
            let (mut failures, mut is_told) = (0, false);
            loop {
                sleep(WATCHED_EVERY).await;
                match self.connect().await {
                    Ok(open) if open.server != server => return Unconnected::Replaced,
                    Ok(open) => {
                        failures = 0;
                        if !is_told && open.waits_for_standby().await {
                            warn_of_standbys();
                            is_told = true;
                        }
                    }
                    Err(_) if failures < WATCHED_AGAIN => failures += 1,
                    Err(error) => return error,
                }
            }
        };
        tokio::select! {
            done = done => Ok(done),
            gone = gone => Err(gone),
        }
    }

    /// The same as [`connect`](Self::connect), until it succeeds. Each server is tried again and again for
    /// itself, so that one that stands still keeps nobody from another that can be written to from now on.
    async fn reconnect(&self) -> Open {
        let silence = *self.silence();
        let head_start = match silence.is_some_and(|since| since.elapsed() < SILENT_LATELY) {
            true => Duration::ZERO,
            false => HEAD_START,
        };
        let attempts = self.in_turn().map(|(number, turn)| {
            Box::pin(async move {
                sleep(head_start * turn).await;
                let mut pause = FIRST_PAUSE;
                loop {
                    match self.connect_to(number).await {
                        Ok(open) => return open,
                        Err(error) => tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot connect to the PostgreSQL database; trying again"
                        ),
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            })
        });
        let (open, ..) = select_all(attempts).await;
        self.use_server_of(open)
    }

    /// The same for what is to be stored. While commits wait for a standby another one would wait beside them, and leave one more
    /// process of the server behind each time that it is given up; so the connection is not used until they do not, unless another
    /// server can be written to meanwhile.
    async fn reconnect_to_write(&self) -> Open {
        let open = self.reconnect().await;
        let mut is_told = false;
        while open.waits_for_standby().await {
            if !is_told {
                warn_of_standbys();
                is_told = true;
            }
            sleep(STANDBY_EVERY).await;
            if let Some(other) = self.connect_elsewhere(open.server).await {
                return other;
            }
        }
        open
    }

    /// A connection to another server, such as one that was promoted, where no commits wait. All others follow it there, so that
    /// what is read is what is stored.
    async fn connect_elsewhere(&self, server: usize) -> Option<Open> {
        for (number, _) in self.in_turn().filter(|(number, _)| *number != server) {
            if let Ok(open) = self.connect_to(number).await
                && !open.waits_for_standby().await
            {
                return Some(self.use_server_of(open));
            }
        }
        None
    }

    /// All servers, the one that was found last first, and which of them each is.
    fn in_turn(&self) -> impl Iterator<Item = (usize, u32)> {
        let (found, count) = (self.found(), self.configs.len());
        (0..count).map(move |turn| (found + turn) % count).zip(0..)
    }

    async fn connect_to(&self, number: usize) -> Result<Open, Unconnected> {
        let config = self.configs.get(number).ok_or(Unconnected::Silent)?;
        let connecting = connect(number, config, self.tls.as_ref());
        let connected = timeout(CONNECT, connecting).await;
        let open = connected.map_err(|_| Unconnected::Silent)?;
        let open = open.map_err(Unconnected::Refused)?;
        meters::connects().increment(1);
        Ok(open)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    #[error("it has not answered within {CONNECT:?}")]
    Silent,
    #[error("another server can be written to now")]
    Replaced,
    #[error(transparent)]
    Refused(tokio_postgres::Error),
}

async fn connect(
    server: usize,
    config: &Config,
    tls: Option<&Tls>,
) -> Result<Open, tokio_postgres::Error> {
    match connect_as(server, &timeouts::ask(config), tls).await {
        Err(error) if timeouts::are_refused(&error) => connect_as(server, config, tls).await,
        connected => connected,
    }
}

async fn connect_as(
    server: usize,
    config: &Config,
    tls: Option<&Tls>,
) -> Result<Open, tokio_postgres::Error> {
    Ok(match tls {
        Some(tls) => Open::drive(server, config.connect(tls.clone()).await?),
        None => Open::drive(server, config.connect(NoTls).await?),
    })
}
