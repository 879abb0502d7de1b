//! Our server, in this process.

use messenger_core::{Engine, Policy};
use messenger_server::websocket::Origins;
use messenger_server::{Server, Transport};
use std::future::pending;
use std::net::SocketAddr;
use tokio::net::TcpListener;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Reached {
    ByTcp,
    ByWebSocket,
}

/// Starts a server with this change of its policy.
pub(crate) async fn start(reached: Reached, change: fn(&mut Policy)) -> SocketAddr {
    let mut policy = Policy::default();
    // Passwords as cheap as they get.
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    change(&mut policy);
    let engine = Engine::builder().policy(policy).build().unwrap();
    let server = Server::new(engine, Transport::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        match reached {
            Reached::ByTcp => server.serve(listener, pending()).await,
            Reached::ByWebSocket => {
                let origins = Origins::default();
                server
                    .serve_websocket(listener, None, origins, pending())
                    .await
            }
        }
    });
    address
}
