//! Calls to the database, each made until it is answered or its time is over.

use crate::error::{CallError, Failed};
use crate::link::{For, Link, Servers};
use crate::meters;
use crate::params::Params;
use messenger_core::storage::StorageError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Row;

/// How long a call may take. Less than the engine gives a request.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(4_000);

/// With less time than that nothing is sent any more: it would hardly be answered, and one that was not answered takes its
/// connection with it.
pub(crate) const LEAST_LEFT: Duration = Duration::from_millis(500);

/// How many connections the calls that look something up share, and how many the others. A call that waits for a lock delays
/// those behind it on the same one.
const LINKS: usize = 3;

/// How many calls may be under way on each; more are refused.
const MOST_UNDER_WAY: usize = 4000;

/// What a statement commits that has this function, so that the standby has to confirm it, and with it all that was committed
/// before. (One that finds everything done already would commit nothing, and wait for nobody.)
pub(crate) const CONFIRMATION: &str = "pg_logical_emit_message(true, 'messenger', '')";

/// The error by which a database tells that it has lost what it had committed.
const LOSS: &str = "MSG01";

/// How long it is waited before a call is made again that two others stood in the way of: so many milliseconds, or up to
/// twice as many, so that those who collided do not again.
const PAUSE_MS: u64 = 5;

/// What a call has given.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    /// An earlier attempt may have done it.
    pub(crate) may_be_repeated: bool,
}

impl Answer {
    pub(crate) fn first(&self) -> Option<&Row> {
        self.rows.first()
    }
}

/// The connections that calls share. What waits for a standby in its commit keeps nobody from looking something up.
pub(crate) struct Calls {
    reads: Vec<Link>,
    writes: Vec<Link>,
}

impl Calls {
    pub(crate) fn new(servers: &Arc<Servers>) -> Self {
        let links = |what: For| (0..LINKS).map(move |_| Link::new(Arc::clone(servers), what));
        Self {
            reads: links(For::Reads).collect(),
            writes: links(For::Writes).collect(),
        }
    }

    /// Has something looked up.
    pub(crate) async fn read(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        match self.call(sql, params).await {
            Ok(answer) => Ok(answer.rows),
            // Nothing was to be done.
            Err(failure) => Err(StorageError::new(failure.cause)),
        }
    }

    /// Has something done that may be done twice.
    pub(crate) async fn write(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Answer, StorageError> {
        Ok(call_on_any(&self.writes, sql, params).await?)
    }

    /// Has something looked up, and tells more of a failure.
    pub(crate) async fn call(&self, sql: &str, params: Params<'_>) -> Result<Answer, Failure> {
        call_on_any(&self.reads, sql, params).await
    }
}

async fn call_on_any(links: &[Link], sql: &str, params: Params<'_>) -> Result<Answer, Failure> {
    let least_used = links.iter().min_by_key(|link| link.under_way());
    let link = least_used.filter(|link| link.under_way() < MOST_UNDER_WAY);
    let link = link.ok_or_else(|| Failure::new(CallError::TooMany, false))?;
    let _counted = link.count();
    call(link, sql, &params, Instant::now() + CALL_TIMEOUT).await
}

/// A call that has failed.
pub(crate) struct Failure {
    cause: Box<dyn std::error::Error + Send + Sync>,
    may_be_done: bool,
}

impl Failure {
    fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>, may_be_done: bool) -> Self {
        Self {
            cause: cause.into(),
            may_be_done,
        }
    }
}

impl Failure {
    /// The database has lost what it had committed.
    pub(crate) fn is_loss(&self) -> bool {
        let error = self.cause.downcast_ref::<tokio_postgres::Error>();
        let state = error.and_then(tokio_postgres::Error::code);
        state.is_some_and(|state| state.code() == LOSS)
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        match failure.may_be_done {
            true => Self::unknown(failure.cause),
            false => Self::new(failure.cause),
        }
    }
}

/// Has a statement carried out on this connection, again and again until it is answered.
pub(crate) async fn call(
    link: &Link,
    sql: &str,
    params: &Params<'_>,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let params = params.typed();
    let mut may_be_done = false;
    loop {
        let Ok(open) = timeout_at(deadline - LEAST_LEFT, link.open()).await else {
            let error = CallError::Unreachable(CALL_TIMEOUT);
            return Err(Failure::new(error, may_be_done));
        };
        let sent = Instant::now();
        let is_to_be_confirmed = may_be_done && link.what() == For::Writes;
        let answer = async {
            let rows = open.client.query_typed(sql, &params).await?;
            if is_to_be_confirmed {
                let confirm = format!("SELECT FROM {CONFIRMATION}");
                open.client.query_typed(&confirm, &[]).await?;
            }
            Ok(rows)
        };
        let Ok(answer) = timeout_at(deadline, answer).await else {
            // One that tells something else meanwhile is there, and others wait for it.
            if !open.was_heard_since(sent) {
                open.close();
                link.note_silence(&open, sent);
            }
            return Err(Failure::new(CallError::Silent(CALL_TIMEOUT), true));
        };
        let error = match answer {
            Ok(rows) => {
                open.note_answer();
                return Ok(Answer {
                    rows,
                    may_be_repeated: may_be_done,
                });
            }
            Err(error) => error,
        };
        match Failed::by(&error) {
            // It may take as long again.
            Failed::ThisTime if Instant::now() + sent.elapsed() < deadline => {}
            Failed::ForGood | Failed::ThisTime => return Err(Failure::new(error, may_be_done)),
            Failed::Unknown => {
                open.close();
                may_be_done = true;
            }
        }
        meters::repeats().increment(1);
        sleep(pause()).await;
    }
}

fn pause() -> Duration {
    let more = getrandom::u64().unwrap_or(0) % PAUSE_MS;
    Duration::from_millis(PAUSE_MS + more)
}
