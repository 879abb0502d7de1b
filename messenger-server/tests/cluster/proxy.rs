//! A network that fails: a way to a server on which bytes are cut off, swallowed or late.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What becomes of what passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Open,
    /// Connections are reset, those that come as well.
    Refused,
    /// Nothing comes through in these directions, and neither side is told.
    Silent {
        there: bool,
        back: bool,
    },
    /// Everything takes so long in each direction.
    Slow(Duration),
}

impl Way {
    pub(crate) const DEAD: Self = Self::Silent {
        there: true,
        back: true,
    };
    /// Questions arrive, answers do not.
    pub(crate) const ANSWERLESS: Self = Self::Silent {
        there: false,
        back: true,
    };

    fn swallows(self, is_there: bool) -> bool {
        matches!(self, Self::Silent { there, back } if if is_there { there } else { back })
    }
}

/// Where a server listens: nowhere while it is not running, and elsewhere when it was started again.
#[derive(Clone, Default)]
pub(crate) struct Target(Arc<Mutex<Option<Address>>>);

#[derive(Clone)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Target {
    pub(crate) fn set(&self, address: Option<Address>) {
        *self.0.lock().unwrap() = address;
    }

    async fn connect(&self) -> Option<Box<dyn Stream>> {
        let address = self.0.lock().unwrap().clone()?;
        Some(match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.ok()?;
                stream.set_nodelay(true).ok()?;
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.ok()?),
        })
    }
}

#[derive(Clone, Copy)]
struct State {
    way: Way,
    /// How often all connections were cut.
    cuts: usize,
}

/// Passes connections on to a target.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(target: &Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State {
            way: Way::Open,
            cuts: 0,
        });
        let target = target.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), seen.clone()));
            }
        });
        Self {
            port,
            state,
            accepting,
        }
    }

    /// Makes the way like this. Connections on which something is missing are cut.
    pub(crate) fn set(&self, way: Way) {
        self.state.send_modify(|state| {
            if way == Way::Refused || matches!(state.way, Way::Silent { .. }) {
                state.cuts += 1;
            }
            state.way = way;
        });
    }

    /// Resets all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, target: Target, mut state: watch::Receiver<State>) {
    let begun = *state.borrow_and_update();
    // Whatever ends this is a reset for the client.
    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
    let _ = client.set_nodelay(true);
    if begun.way == Way::Refused {
        return;
    }
    let Some(server) = target.connect().await else {
        if matches!(begun.way, Way::Silent { .. }) {
            // Not even that nobody listens there is told.
            let _ = state.wait_for(|state| state.cuts != begun.cuts).await;
        }
        return;
    };
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let seen = state.clone();
    tokio::select! {
        () = pipe(from_client, to_server, true, &seen) => {}
        () = pipe(from_server, to_client, false, &seen) => {}
        _ = state.wait_for(|state| state.cuts != begun.cuts) => {}
    }
}

async fn pipe(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    is_there: bool,
    state: &watch::Receiver<State>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let way = state.borrow().way;
        if way.swallows(is_there) {
            if read == 0 {
                // The other side does not hear of the end, either.
                std::future::pending::<()>().await;
            }
            continue;
        }
        if let Way::Slow(delay) = way {
            sleep(delay).await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
