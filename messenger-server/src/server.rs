//! The listener: it takes connections, and stops in good order.

use crate::budget::Budget;
use crate::connection::{ConnectionTask, Shares, flood_places};
use crate::meters::{self, Meters};
#[cfg(feature = "websocket")]
use crate::origins::Origins;
use crate::stop::{Stop, Stopped};
use crate::{Tls, Transport, proxy};
use bytes::Bytes;
use messenger_core::{DriverLimits, Engine};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error_span};

/// How long to wait after the system could not accept a connection, such as for want of files.
pub(crate) const AFTER_ACCEPT_FAILURE: Duration = Duration::from_millis(100);

/// Serves an engine to streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    engine: Engine,
    transport: Arc<Transport>,
    meters: Arc<Meters>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    partial_frames: Arc<Budget>,
    outgoing: Arc<Budget>,
    flood_places: Arc<Semaphore>,
    /// Of each connection.
    limits: Arc<DriverLimits>,
    stop: CancellationToken,
    /// The same, for connections.
    stop_connections: Arc<Stop>,
    /// The connections that the embedder has accepted itself.
    own: TaskTracker,
    /// These are cut.
    cut_own: CancellationToken,
}

/// Whose handshake failed, and why.
pub(crate) type Failed = (IpAddr, io::Error);

/// How frames are told apart on a stream.
pub(crate) enum Framing {
    /// They follow each other without a delimiter.
    Stream,
    /// Each is a text message of a WebSocket. These bytes have come behind its handshake already.
    WebSocket(Bytes),
}

/// What the connections of a listener speak.
#[derive(Clone)]
pub(crate) enum Over {
    Tcp,
    Tls(Tls),
    #[cfg(feature = "websocket")]
    WebSocket {
        tls: Option<Tls>,
        origins: Arc<Origins>,
    },
}

/// How a server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that had not finished when their time was up.
    pub cut: usize,
}

impl Server {
    /// A server of this engine.
    pub fn new(engine: Engine, transport: Transport) -> Self {
        let meters = Arc::new(Meters::new());
        let DriverLimits {
            frame,
            frame_before_auth,
            ..
        } = transport.driver;
        let longest_frame = frame.max(frame_before_auth);
        let longest_list = engine.policy().limits.list_bytes;
        Self {
            engine,
            connections: Arc::new(Semaphore::new(transport.connections)),
            handshakes: Arc::new(Semaphore::new(transport.handshakes)),
            partial_frames: Arc::new(Budget::new(
                transport.partial_frames,
                // One byte more tells that a frame is too long.
                longest_frame.saturating_add(1),
                meters::partial_frames(),
            )),
            outgoing: Arc::new(Budget::new(
                transport.outgoing,
                longest_list,
                meters::outgoing(),
            )),
            flood_places: flood_places(),
            limits: Arc::new(transport.driver),
            transport: Arc::new(transport),
            meters,
            stop: CancellationToken::new(),
            stop_connections: Arc::default(),
            own: TaskTracker::new(),
            cut_own: CancellationToken::new(),
        }
    }

    /// The engine it serves.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Tells every connection to stop: what was received is finished, flushed, and the connection
    /// closed. May be called many times.
    pub fn stop(&self) {
        self.stop.cancel();
        self.stop_connections.begin();
    }

    /// Completes when connections are told to stop.
    #[cfg(feature = "binary")]
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> {
        self.stop.cancelled()
    }

    /// Serves one stream until it ends, for an embedder that accepts connections itself. It counts among
    /// [`Transport::connections`]: when there are as many as may be, it ends at once. [`stop`](Self::stop)
    /// reaches it, and [`drain`](Self::drain) waits for it.
    ///
    /// It is not held to what one address may do in a time; see [`connection_from`](Self::connection_from).
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream at once. Requests that were begun may have been carried out; what was
    /// not written counts as not delivered, and comes again.
    pub fn connection<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let permit = self.permit();
        self.accepted(permit.map(|permit| (permit, self.task(stream, None, Framing::Stream))))
    }

    /// As [`connection`](Self::connection), for a stream that comes from this address.
    ///
    /// # Cancel safety
    /// As [`connection`](Self::connection).
    pub fn connection_from<S>(
        &self,
        stream: S,
        peer: IpAddr,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let permit = self.permit();
        self.accepted(permit.map(|permit| (permit, self.task(stream, Some(peer), Framing::Stream))))
    }

    /// Serves one stream that has become a WebSocket (RFC 6455) until it ends: one JSON object a text message. The HTTP
    /// upgrade is behind it; with the feature `websocket`, `websocket::upgrade` does both. With `peer` it is held to what
    /// one address may do in a time. Otherwise as [`connection`](Self::connection).
    ///
    /// # Cancel safety
    /// As [`connection`](Self::connection).
    pub fn websocket<S>(
        &self,
        stream: S,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let framing = Framing::WebSocket(Bytes::new());
        let permit = self.permit();
        self.accepted(permit.map(|permit| (permit, self.task(stream, peer, framing))))
    }

    /// Has a connection that the embedder has accepted waited for, and cut. `None` is one that was turned away.
    pub(crate) fn accepted<T>(
        &self,
        accepted: Option<(OwnedSemaphorePermit, T)>,
    ) -> impl Future<Output = ()> + Send + use<T>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let task = accepted.map(|(permit, connection)| {
            let connection = hold(permit, Box::pin(connection));
            let cut = self.cut_own.clone();
            self.own
                .track_future(cut.run_until_cancelled_owned(connection))
        });
        async {
            if let Some(task) = task {
                task.await;
            }
        }
    }

    pub(crate) fn task<S>(
        &self,
        stream: S,
        peer: Option<IpAddr>,
        framing: Framing,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = match peer {
            Some(peer) => self.engine.connect_from(peer),
            None => self.engine.connect(),
        };
        let peer = peer.map(tracing::field::display);
        // Whatever is logged meanwhile tells which connection it was.
        let span = error_span!("connection", id = %connection.id(), peer);
        span.in_scope(|| tracing::debug!("a connection began"));
        let shares = Shares {
            partial_frames: self.partial_frames.share(),
            outgoing: self.outgoing.share(),
            flood_places: Arc::clone(&self.flood_places),
            limits: Arc::clone(&self.limits),
        };
        let task = ConnectionTask::new(
            stream,
            connection,
            Arc::clone(&self.transport),
            Arc::clone(&self.meters),
            shares,
            Stopped::new(Arc::clone(&self.stop_connections)),
        );
        let task = match framing {
            Framing::Stream => task,
            Framing::WebSocket(received) => task.over_websocket(&received),
        };
        task.instrument(span)
    }

    /// Takes connections until `until` completes or [`stop`](Self::stop) is called; then lets them
    /// finish, for as long as [`Transport::drain`] allows.
    ///
    /// How many connections may come at once depends on the listener: [`TcpListener::bind`] lets 128 wait to be
    /// accepted, [`TcpSocket::listen`](tokio::net::TcpSocket::listen) as many as it is told.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and cuts all its connections, without letting them finish. What was
    /// delivered to them last may not be stored yet: [`Engine::shut_down`] stores it.
    pub async fn serve(&self, listener: TcpListener, until: impl Future<Output = ()>) -> Drained {
        self.accept(listener, Over::Tcp, until).await
    }

    /// As [`serve`](Self::serve), over TLS. A server may do both at once, with two listeners.
    ///
    /// # Cancel safety
    /// As [`serve`](Self::serve).
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        tls: Tls,
        until: impl Future<Output = ()>,
    ) -> Drained {
        self.accept(listener, Over::Tls(tls), until).await
    }

    pub(crate) async fn accept(
        &self,
        listener: TcpListener,
        over: Over,
        until: impl Future<Output = ()>,
    ) -> Drained {
        let mut connections = JoinSet::new();
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(&mut connections, stream, peer, over.clone()),
                    Err(error) => after_accept_failure(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.drain_accepted(connections).await
    }

    /// Leave for one more connection, unless there are too many.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok();
        if permit.is_none() {
            self.meters.max_connections.increment(1);
            let limit = self.transport.connections;
            tracing::warn!(
                limit,
                "turned a connection away: there are as many as may be (--max-connections)"
            );
        }
        permit
    }

    /// Starts a connection's task, or turns it away when there are too many.
    fn take(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, over: Over) {
        let Some(permit) = self.permit() else {
            return;
        };
        if let Err(error) = self.prepare(&stream) {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        let peer = peer.ip().to_canonical();
        let is_proxy = self.is_proxy(peer);
        match over {
            Over::Tls(tls) => {
                self.meters.tls_accepted.increment(1);
                let connection = self.clone().over_tls(stream, peer, tls);
                connections.spawn(hold(permit, Box::pin(connection)));
            }
            Over::Tcp if is_proxy => {
                self.meters.tcp_accepted.increment(1);
                let connection = self.clone().behind_proxy(stream, peer);
                connections.spawn(hold(permit, Box::pin(connection)));
            }
            Over::Tcp => {
                self.meters.tcp_accepted.increment(1);
                let connection = self.task(stream, Some(peer), Framing::Stream);
                connections.spawn(hold(permit, Box::pin(connection)));
            }
            #[cfg(feature = "websocket")]
            Over::WebSocket { tls: None, origins } => {
                self.meters.ws_accepted.increment(1);
                let connection = self.clone().over_ws(stream, peer, origins);
                connections.spawn(hold(permit, Box::pin(connection)));
            }
            #[cfg(feature = "websocket")]
            Over::WebSocket {
                tls: Some(tls),
                origins,
            } => {
                self.meters.wss_accepted.increment(1);
                let connection = self.clone().over_wss(stream, peer, tls, origins);
                connections.spawn(hold(permit, Box::pin(connection)));
            }
        }
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(self.transport.keepalive);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        let mut networks = self.transport.proxies.iter();
        networks.any(|network| network.contains(&peer))
    }

    fn over_tls(
        self,
        stream: TcpStream,
        peer: IpAddr,
        tls: Tls,
    ) -> impl Future<Output = ()> + Send {
        let begin = async move {
            let opening = async |mut stream| {
                let client = self.client(&mut stream, peer).await?;
                let accepted = tls.accept(stream).await;
                Ok((accepted.map_err(|error| (client, error))?, client))
            };
            let (stream, client) = self.open(peer, opening(stream)).await?;
            Some(Box::pin(self.task(stream, Some(client), Framing::Stream)))
        };
        serve_opened(Box::pin(begin))
    }

    fn behind_proxy(self, stream: TcpStream, peer: IpAddr) -> impl Future<Output = ()> + Send {
        let begin = async move {
            let opening = async |mut stream| {
                let client = self.client(&mut stream, peer).await?;
                Ok((stream, client))
            };
            let (stream, client) = self.open(peer, opening(stream)).await?;
            Some(Box::pin(self.task(stream, Some(client), Framing::Stream)))
        };
        serve_opened(Box::pin(begin))
    }

    /// Where the client is: whatever a proxy says, and otherwise whoever is connected.
    pub(crate) async fn client(
        &self,
        stream: &mut TcpStream,
        peer: IpAddr,
    ) -> Result<IpAddr, Failed> {
        if !self.is_proxy(peer) {
            return Ok(peer);
        }
        let client = proxy::read_header(stream).await;
        Ok(client.map_err(|error| (peer, error))?.unwrap_or(peer))
    }

    /// What comes before the first frame, within bounds of number and time.
    pub(crate) async fn open<T>(
        &self,
        peer: IpAddr,
        opening: impl Future<Output = Result<T, Failed>>,
    ) -> Option<T> {
        let Ok(_permit) = self.handshakes.try_acquire() else {
            self.meters.max_handshakes.increment(1);
            let limit = self.transport.handshakes;
            tracing::warn!(
                limit,
                "turned a connection away: as many as may be are in their handshakes (--max-handshakes)"
            );
            return None;
        };
        let opened = tokio::select! {
            opened = timeout(self.transport.handshake_time, opening) => opened,
            () = self.stop.cancelled() => return None,
        };
        match opened {
            Ok(Ok(opened)) => Some(opened),
            Ok(Err((peer, error))) => {
                // Some of these lines are held back; the number tells how many.
                let failed = self.meters.handshake_failed();
                tracing::info!(%peer, failed, %error, "a handshake failed");
                None
            }
            Err(_) => {
                self.meters.handshake_timeout.increment(1);
                tracing::debug!(%peer, "a handshake took too long");
                None
            }
        }
    }

    /// [Stops](Self::stop), and waits until the connections that the embedder has accepted itself have
    /// finished; over [`Transport::drain`] they are cut. Those of a listener are waited for by
    /// [`serve`](Self::serve).
    ///
    /// The futures of [`connection`](Self::connection) must be polled meanwhile, or dropped.
    ///
    /// # Cancel safety
    /// When the future was polled once, the server stops. Dropping it then means that no connection is cut, and that what was
    /// delivered last may not be stored yet: [`Engine::shut_down`] stores it. Doing it again waits again, as long as
    /// [`Transport::drain`] allows.
    pub async fn drain(&self) -> Drained {
        self.stop();
        self.own.close();
        let cut = match timeout(self.transport.drain, self.own.wait()).await {
            Ok(()) => 0,
            Err(_) => self.own.len(),
        };
        self.cut_own.cancel();
        self.own.wait().await;
        self.store_watermarks().await;
        Drained { cut }
    }

    async fn drain_accepted(&self, mut connections: JoinSet<()>) -> Drained {
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
        self.store_watermarks().await;
        drained
    }

    async fn store_watermarks(&self) {
        if let Err(error) = self.engine.shut_down().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "what was given last could not be stored; it will be given again"
            );
        }
    }
}

/// Serves a connection that begins with a handshake. That takes room, and is gone with its box when the connection is
/// served.
async fn serve_opened<C>(begin: Pin<Box<impl Future<Output = Option<Pin<Box<C>>>>>>)
where
    C: Future<Output = ()>,
{
    if let Some(connection) = begin.await {
        connection.await;
    }
}

/// A future takes its room a second time in one that it is given to, and a connection has a large one:
/// so it comes in a box.
async fn hold(permit: OwnedSemaphorePermit, connection: Pin<Box<impl Future<Output = ()>>>) {
    connection.await;
    drop(permit);
}

async fn after_accept_failure(error: &io::Error) {
    tracing::error!(%error, "a connection could not be accepted; is the limit of open files too low?");
    sleep(AFTER_ACCEPT_FAILURE).await;
}
