//! The log: on standard error, never so much of it that a peer could fill a disk, and never waited for.

use crate::settings::LogFormat;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics::{Counter, counter};
use std::env::VarError;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter, Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// How many lines that say the same are written at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// How many a second after that; the others are only counted.
const A_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();

/// How many lines wait for whoever reads the log; more are only counted.
const QUEUED: usize = 1024;

/// How long what waits at the end may take to be read.
const PATIENCE: Duration = Duration::from_millis(500);

/// The metric of lines that were not written.
const DROPPED: &str = "messenger_log_lines_dropped_total";

/// Why they were not: nobody read the log,
const NOT_READ: &str = "not_read";

/// or the same was said too often.
const REPEATED: &str = "repeated";

fn dropped_because(why: &'static str) -> Counter {
    counter!(DROPPED, "why" => why)
}

/// Has the recorder, which comes later than the log, tell of no lines as long as there are none.
pub(crate) fn begin_to_count() {
    for why in [NOT_READ, REPEATED] {
        dropped_because(why).increment(0);
    }
}

/// The variable that tells what is logged.
const FILTER: &str = "RUST_LOG";

/// Writes lines.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Tells what becomes a line.
type Chosen = Box<dyn Layer<Layered<Lines, Registry>> + Send + Sync>;

/// `RUST_LOG` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG tells nothing with {0:?}; give a level (error, warn, info, debug, trace, off), or levels for parts: info,messenger_core=debug"
)]
pub struct FilterError(String);

/// Begins to log: what `RUST_LOG` says, or else what is as important as `usual`. To be called once, by a program that
/// has no log of its own; it drops what it gets when it ends.
///
/// # Errors
/// `RUST_LOG` cannot be read.
pub fn install(format: LogFormat, usual: LevelFilter) -> Result<Log, FilterError> {
    let filter = match std::env::var(FILTER) {
        Ok(text) if !text.trim().is_empty() => read_filter(&text)?,
        Err(VarError::NotUnicode(text)) => {
            return Err(FilterError(text.to_string_lossy().into_owned()));
        }
        _ => Box::new(usual_filter(usual)),
    };
    let (queue, log) = Queue::before(io::stderr());
    let lines = fmt::layer()
        .with_writer(move || queue.clone())
        // Whoever read the log may be gone; that must not end the server.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let quota = Quota::per_second(A_SECOND).allow_burst(AT_ONCE);
    let repeated = Repeated(RateLimiter::keyed(quota));
    let layer: Lines = match format {
        LogFormat::Text => lines.with_filter(repeated).boxed(),
        LogFormat::Json => lines.json().with_filter(repeated).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
    Ok(log)
}

/// What the client of NATS says with each attempt to connect, the notifier tells once.
fn usual_filter(usual: LevelFilter) -> Targets {
    Targets::new()
        .with_default(usual)
        .with_target("async_nats", LevelFilter::OFF)
}

/// A word that is no level is refused: it would be taken for a part of the program that logs, and a level that is
/// written wrong would leave the log empty.
fn read_filter(text: &str) -> Result<Chosen, FilterError> {
    let wrong = || FilterError(text.to_owned());
    let parts = text.split(',').map(str::trim);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let is_read = |part: &&str| {
        part.contains(['=', '[', '{', '}', ']']) || part.parse::<LevelFilter>().is_ok()
    };
    if !parts.iter().all(is_read) {
        return Err(wrong());
    }
    let text = &parts.join(",");
    // What goes by spans costs something whenever a connection's task goes on.
    if text.contains(['[', '{']) {
        let filter = EnvFilter::try_new(text).map_err(|_| wrong())?;
        return Ok(Box::new(filter));
    }
    let filter: Targets = text.parse().map_err(|_| wrong())?;
    Ok(Box::new(filter))
}

/// The log's thread. Dropping it writes the lines that wait, if they are read within half a second;
/// nothing is logged afterwards.
#[derive(Debug)]
#[must_use = "the log ends when this is dropped"]
pub struct Log(Option<WorkerGuard>);

impl Drop for Log {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (ended, end) = mpsc::channel::<()>();
        // On a thread of its own: when the guard gives up it says so on standard output, which may be
        // as stuck as standard error.
        let ending = thread::Builder::new().spawn(move || {
            drop(guard);
            drop(ended);
        });
        if ending.is_ok() {
            // Nothing is sent: until the other end is dropped.
            let _ = end.recv_timeout(PATIENCE);
        }
    }
}

/// Lines on their way to the log's thread. A reader that has stopped costs lines, and nobody waits for it.
#[derive(Clone)]
struct Queue {
    lines: NonBlocking,
    dropped: ErrorCounter,
}

impl Queue {
    fn before(writer: impl Write + Send + 'static) -> (Self, Log) {
        let (lines, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUED)
            .lossy(true)
            .thread_name("log")
            .finish(writer);
        let dropped = lines.error_counter();
        (Self { lines, dropped }, Log(Some(guard)))
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.lines.write(line);
        let dropped = self.dropped.dropped_lines() as u64;
        dropped_because(NOT_READ).absolute(dropped);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

/// Holds back lines that say the same too often. What is said, is said in one place of the program.
struct Repeated(DefaultKeyedRateLimiter<Identifier>);

impl<S> Filter<S> for Repeated {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let is_allowed = self.0.check_key(&event.metadata().callsite()).is_ok();
        if !is_allowed {
            dropped_because(REPEATED).increment(1);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use std::sync::mpsc::{Receiver, Sender};
    use std::time::Instant;

    /// Where lines are written once they are read.
    struct Pipe {
        may_write: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // Also when there is nobody any more who could allow it.
            let _ = self.may_write.recv();
            let _ = self.written.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Pipe, Sender<()>, Receiver<Vec<u8>>) {
        let ((allow, may_write), (written, lines)) = (mpsc::channel(), mpsc::channel());
        (Pipe { may_write, written }, allow, lines)
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_not_waited_for() {
        let (pipe, _allow, _lines) = pipe();
        let (mut queue, log) = Queue::before(pipe);
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for _ in 0..QUEUED + 10 {
                queue.write_all(b"a line\n").unwrap();
            }
        });
        // One may be with the thread.
        let page = recorder.handle().render();
        let told = |count| page.contains(&format!("{DROPPED}{{why=\"not_read\"}} {count}\n"));
        assert!(told(9) || told(10), "{page}");
        let dropped = Instant::now();
        drop(log);
        assert!(dropped.elapsed() < 2 * PATIENCE);
    }

    #[test]
    fn the_last_lines_are_written() {
        let (pipe, allow, lines) = pipe();
        let (mut queue, log) = Queue::before(pipe);
        for _ in 0..QUEUED / 2 {
            queue.write_all(b"a line\n").unwrap();
        }
        drop(allow);
        drop(log);
        assert_eq!(lines.try_iter().count(), QUEUED / 2);
    }
}
