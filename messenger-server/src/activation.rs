//! Sockets that a service manager listens on and passes to the server (systemd's socket activation). They are there while
//! no server is, so that whoever connects while it is started again waits a moment instead of being refused.

use listenfd::ListenFd;
use std::io;
use tokio::net::TcpListener;

/// Why the sockets cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivationError {
    #[error(
        "{passed} sockets were passed by the service manager, and {wanted} can be used; the first ListenStream= is for \
         --listen, and those behind it for --tls-listen, --ws-listen, --wss-listen, --web-listen and --web-tls-listen, as far as these are given"
    )]
    TooMany { passed: usize, wanted: usize },
    #[error(
        "socket {number} that the service manager passed cannot be listened on; ListenStream= needs a TCP port"
    )]
    Unusable { number: usize, source: io::Error },
}

/// The sockets that were passed: the first for `--listen`, those behind it for `--tls-listen`, `--ws-listen`,
/// `--wss-listen`, `--web-listen` and `--web-tls-listen`, as far as these are given.
pub(crate) struct Passed(ListenFd);

impl Passed {
    /// Takes them out of the environment. To be called before there are other threads, which might look there.
    pub(crate) fn from_env() -> Self {
        Self(ListenFd::from_env())
    }

    /// None may be left over: whoever connected there would wait for ever.
    pub(crate) fn check(&self, wanted: usize) -> Result<(), ActivationError> {
        match self.0.len() {
            passed if passed > wanted => Err(ActivationError::TooMany { passed, wanted }),
            _ => Ok(()),
        }
    }

    /// The socket of this number, from 0, if it was passed.
    pub(crate) fn take(&mut self, number: usize) -> Result<Option<TcpListener>, ActivationError> {
        let taken = self.0.take_tcp_listener(number).and_then(|listener| {
            let Some(listener) = listener else {
                return Ok(None);
            };
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Some)
        });
        taken.map_err(|source| ActivationError::Unusable { number, source })
    }
}
