//! The log: on standard error, and never so much of it that a peer could fill a disk.

use crate::settings::LogFormat;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics::counter;
use std::io::{self, IsTerminal};
use std::num::NonZeroU32;
use tracing::callsite::Identifier;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// How many lines that say the same are written at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// How many a second after that; the others are only counted.
const A_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();

/// Begins to log. To be called once, by a program that has no log of its own.
pub fn install(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer()
        .with_writer(io::stderr)
        // Whoever read the log may be gone; that must not end the server.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let quota = Quota::per_second(A_SECOND).allow_burst(AT_ONCE);
    let repeated = Repeated(RateLimiter::keyed(quota));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_filter(repeated).boxed(),
        LogFormat::Json => lines.json().with_filter(repeated).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
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
            counter!("messenger_log_lines_dropped_total").increment(1);
        }
        is_allowed
    }
}
