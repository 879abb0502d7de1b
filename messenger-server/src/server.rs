//! The listener: it takes connections, and stops in good order.

use crate::Transport;
use crate::connection::Connection;
use messenger_core::Engine;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long to wait after the system could not accept a connection, such as for want of files.
const AFTER_ACCEPT_FAILURE: Duration = Duration::from_millis(100);

/// Serves an engine to streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    engine: Engine,
    transport: Arc<Transport>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

/// How a server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had not finished when their time was up.
    pub cut: usize,
}

impl Server {
    /// A server of this engine.
    pub fn new(engine: Engine, transport: Transport) -> Self {
        Self {
            engine,
            permits: Arc::new(Semaphore::new(transport.connections)),
            transport: Arc::new(transport),
            stop: CancellationToken::new(),
        }
    }

    /// Tells every connection to stop: what was received is finished, flushed, and the connection
    /// closed. May be called many times.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Serves one stream until it ends. Connections served this way are not counted.
    pub fn connection<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let session = self.engine.connect();
        let welcome = self.engine.welcome();
        let transport = Arc::clone(&self.transport);
        let stop = self.stop.child_token();
        Connection::new(stream, session, welcome, transport, stop)
    }

    /// Takes connections until `until` completes or [`stop`](Self::stop) is called; then lets them
    /// finish, for as long as [`Transport::drain`] allows.
    pub async fn serve(&self, listener: TcpListener, until: impl Future<Output = ()>) -> Drained {
        let mut connections = JoinSet::new();
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(&mut connections, stream),
                    Err(error) => after_accept_failure(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.drain(connections).await
    }

    /// Starts a connection's task, or turns it away when there are too many.
    fn take(&self, connections: &mut JoinSet<()>, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let limit = self.transport.connections;
            tracing::warn!(
                limit,
                "turned a connection away: there are as many as may be"
            );
            return;
        };
        if let Err(error) = self.prepare(&stream) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        connections.spawn(hold(permit, self.connection(stream)));
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(self.transport.keepalive);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }

    async fn drain(&self, mut connections: JoinSet<()>) -> Drained {
        self.stop();
        tracing::info!(connections = connections.len(), "stopping");
        let finished = async { while connections.join_next().await.is_some() {} };
        let drained = match timeout(self.transport.drain, finished).await {
            Ok(()) => Drained { cut: 0 },
            Err(_) => Drained {
                cut: connections.len(),
            },
        };
        connections.shutdown().await;
        if let Err(error) = self.engine.shut_down().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "what was given last could not be stored; it will be given again"
            );
        }
        drained
    }
}

async fn hold(permit: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
    drop(permit);
}

async fn after_accept_failure(error: &io::Error) {
    tracing::error!(%error, "a connection could not be accepted; is the limit of open files too low?");
    sleep(AFTER_ACCEPT_FAILURE).await;
}
