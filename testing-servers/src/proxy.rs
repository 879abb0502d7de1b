//! A way to the server on which answers can be lost.

use crate::Postgres;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Whether answers come through, how late, and how often all connections have been cut.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    is_mute: bool,
    delay: Duration,
    cuts: usize,
}

/// Passes connections on to a PostgreSQL server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: watch::Sender<State>,
}

impl Proxy {
    /// In front of this server.
    pub async fn before(postgres: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) = watch::channel(State::default());
        let socket = postgres.socket();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, socket.clone(), seen.clone()));
            }
        });
        Self { port, state }
    }

    /// The address of this database, through here.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://messenger@127.0.0.1:{}/{database}", self.port)
    }

    /// From now on what the server answers is swallowed.
    pub fn mute(&self) {
        self.state.send_modify(|state| state.is_mute = true);
    }

    /// From now on each answer takes so much longer.
    pub fn slow(&self, by: Duration) {
        self.state.send_modify(|state| state.delay = by);
    }

    /// Cuts all connections; answers on later ones come through. What the server was asked it goes on with.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.is_mute = false;
            state.cuts += 1;
        });
    }
}

async fn pass(client: TcpStream, socket: PathBuf, mut state: watch::Receiver<State>) {
    let begun = *state.borrow_and_update();
    let Ok(server) = UnixStream::connect(socket).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let flags = state.clone();
    let answers = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let State { is_mute, delay, .. } = *flags.borrow();
            sleep(delay).await;
            if !is_mute
                && to_client
                    .write_all(bytes.get(..count).unwrap())
                    .await
                    .is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = state.wait_for(|state| state.cuts != begun.cuts) => {}
    }
}
