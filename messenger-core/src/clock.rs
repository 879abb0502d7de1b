//! Time as an input.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in microseconds since the Unix epoch: fine enough that things which happen one after the
/// other can be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment this many microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as the wire has them.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The moment this long before, the epoch at the earliest.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long ago `earlier` was; nothing when it was not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment this long after.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Tells the time. The engine has no other source of it.
///
/// # Examples
/// ```
/// use messenger_core::Engine;
/// use messenger_core::clock::{Clock, Timestamp};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Stopped;
///
/// impl Clock for Stopped {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_micros(1_700_000_000_000_000)
///     }
/// }
///
/// let engine = Engine::builder().clock(Arc::new(Stopped)).manual_maintenance().build()?;
/// assert_eq!(engine.welcome().time, 1_700_000_000);
/// # Ok::<(), messenger_core::BuildError>(())
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now. It may jump: the engine compares it with [`steady`](Self::steady) once a second, goes on by its own
    /// time when they part by more than a minute, and follows this one when it comes back or has moved alike with the
    /// steady one for a day. Nothing is out of date, neither sessions nor messages nor `mid`s, before an engine has run
    /// for an hour in which they moved alike.
    fn now(&self) -> Timestamp;

    /// A time that never jumps, since any moment: how long the machine has run, say. A clock that cannot jump leaves
    /// this as it is.
    fn steady(&self) -> Duration {
        Duration::from_micros(self.now().as_micros())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place where the machine's clock comes in
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, micros))
    }

    /// How long the machine has run, the time for which it was suspended included.
    #[cfg(target_os = "linux")]
    #[inline]
    fn steady(&self) -> Duration {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(since_boot).unwrap_or_default()
    }

    /// How long the program has run.
    #[cfg(not(target_os = "linux"))]
    fn steady(&self) -> Duration {
        static BEGAN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        BEGAN.elapsed()
    }
}
