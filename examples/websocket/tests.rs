//! The example keeps the promises of a transport: `cargo test -p examples --features testing --bin websocket`.

use super::*;
use messenger_core::async_trait;
use messenger_core::testing::transport::{self, Client};
use tokio_tungstenite::client_async;

struct Socket(WebSocketStream<TcpStream>);

#[async_trait]
impl Client for Socket {
    async fn send(&mut self, frame: String) {
        // What the server has closed takes nothing.
        let _ = self.0.send(Message::text(frame)).await;
    }

    async fn receive(&mut self) -> Option<String> {
        match self.0.next().await?.ok()? {
            Message::Text(text) => Some(text.to_string()),
            _ => None,
        }
    }
}

#[tokio::test]
async fn passes_the_suite() {
    transport::suite(async |engine| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, engine.connect()));
        let (socket, _) = client_async("ws://localhost/", client).await.unwrap();
        Socket(socket)
    })
    .await;
}
