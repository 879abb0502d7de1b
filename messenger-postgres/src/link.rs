//! A connection to the database, made anew whenever it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

/// How long it is waited before the second attempt to connect; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection, or the place of one.
pub(crate) struct Link {
    config: Arc<Config>,
    open: Mutex<Option<Arc<Open>>>,
    under_way: AtomicUsize,
}

/// A connection, which is closed when this is dropped.
pub(crate) struct Open {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
}

impl Open {
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
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            open: Mutex::default(),
            under_way: AtomicUsize::new(0),
        }
    }

    /// The connection. It is tried to make one for as long as this is awaited.
    pub(crate) async fn open(&self) -> Arc<Open> {
        let mut place = self.open.lock().await;
        if let Some(open) = &*place
            && !open.client.is_closed()
        {
            return Arc::clone(open);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            match connect(&self.config).await {
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

/// Makes a connection.
pub(crate) async fn connect(config: &Config) -> Result<Open, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a connection to the PostgreSQL database was lost"
            );
        }
    });
    Ok(Open { client, driver })
}
