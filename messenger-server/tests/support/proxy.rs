//! A network that fails: a proxy between a client and the server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is cut on both sides when the client has received so many bytes, mostly within a frame.
    Cut(usize),
    /// The client is gone by then, and the server hears nothing of it: no end, and nothing is taken.
    Vanish(usize),
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Connections to the server whose clients have vanished.
    silent: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// A proxy to `server`, where `fates` decides what becomes of each connection.
    pub(crate) async fn start(
        server: SocketAddr,
        mut fates: impl FnMut() -> Fate + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::default();
        let kept = Arc::clone(&silent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(server).await.unwrap();
                tokio::spawn(pass(client, upstream, fates(), Arc::clone(&kept)));
            }
        });
        Self { address, silent }
    }

    /// The connections whose clients have vanished.
    pub(crate) fn take_silent(&self) -> Vec<TcpStream> {
        std::mem::take(&mut self.silent.lock().unwrap())
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    fate: Fate,
    silent: Arc<Mutex<Vec<TcpStream>>>,
) {
    let (Fate::Cut(mut left) | Fate::Vanish(mut left)) = fate;
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    while left > 0 {
        let room = left.min(down.len());
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(read) if read > 0 => {
                    if server.write_all(&up[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut down[..room]) => match read {
                Ok(read) if read > 0 => {
                    left -= read;
                    if client.write_all(&down[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
    if let Fate::Vanish(_) = fate {
        silent.lock().unwrap().push(server);
    }
}
