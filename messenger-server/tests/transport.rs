//! TCP and WebSocket pass the suite of transports.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

mod support;

use messenger_core::async_trait;
use messenger_core::testing::transport::{self, Client};
use messenger_server::{Server, Transport};
use support::Raw;
use tokio::net::{TcpListener, TcpStream};

struct Tcp(Raw);

#[async_trait]
impl Client for Tcp {
    async fn send(&mut self, frame: String) {
        self.0.send(&frame).await;
    }

    async fn receive(&mut self) -> Option<String> {
        let frame = self.0.try_frame().await?;
        Some(frame.to_string())
    }
}

async fn listen() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    (listener, stream.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp() {
    transport::suite(async |engine| {
        let (listener, client) = listen().await;
        let (stream, _) = listener.accept().await.unwrap();
        let server = Server::new(engine.clone(), Transport::default());
        tokio::spawn(server.connection(stream));
        Tcp(Raw::new(client))
    })
    .await;
}

#[cfg(feature = "websocket")]
mod websocket {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use messenger_server::websocket::Origins;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::{WebSocketStream, client_async};

    struct Socket(WebSocketStream<TcpStream>);

    #[async_trait]
    impl Client for Socket {
        async fn send(&mut self, frame: String) {
            self.0.send(Message::text(frame)).await.unwrap();
        }

        async fn receive(&mut self) -> Option<String> {
            match self.0.next().await?.unwrap() {
                Message::Text(text) => Some(text.to_string()),
                Message::Close(_) => None,
                other => panic!("neither text nor the end: {other:?}"),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn websocket() {
        transport::suite(async |engine| {
            let (listener, client) = listen().await;
            let server = Server::new(engine.clone(), Transport::default());
            tokio::spawn(async move {
                let until = std::future::pending();
                server
                    .serve_websocket(listener, None, Origins::default(), until)
                    .await
            });
            let (socket, _) = client_async("ws://localhost/", client).await.unwrap();
            Socket(socket)
        })
        .await;
    }
}
