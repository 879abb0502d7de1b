//! A transport of one's own: the engine over WebSocket, one JSON object a text message. (The server has one that is bounded
//! in all respects; `messenger_server::websocket` mounts it on a router. Here is what it takes at the least.)
//!
//! Everything about a connection that is not bytes is the driver's: it says when a request is wanted, gives
//! frames in their order, and is told which were delivered.

use futures_util::{SinkExt, StreamExt};
use messenger_core::proto::{Braces, ErrorCode, Failure, Inbound, Outbound};
use messenger_core::{Connection, Driver, DriverLimits, Engine};
use std::error::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:7790".to_owned());
    let engine = Engine::builder().build()?;
    let listener = TcpListener::bind(address).await?;
    println!("serving on ws://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let connection = engine.connect_from(peer.ip());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, connection).await {
                println!("a connection broke: {error}");
            }
        });
    }
}

type Served = Result<(), Box<dyn Error + Send + Sync>>;

async fn serve(stream: TcpStream, connection: Connection) -> Served {
    let limits = DriverLimits::default();
    let config = WebSocketConfig::default().max_message_size(Some(limits.frame));
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let mut driver = Driver::new(connection, limits);
    loop {
        let is_wanted = driver.wants_request(0);
        tokio::select! {
            frame = driver.next_frame(0) => {
                let Ok(frame) = frame else {
                    return Ok(socket.close(None).await?);
                };
                // Sending waits for the peer, so nothing is ever unsent.
                send(&mut socket, &frame.outbound).await?;
                driver.delivered(frame.token);
                let rest = driver.take_rest();
                if !rest.is_zero() {
                    sleep(rest).await;
                }
            }
            message = socket.next(), if is_wanted => match message {
                Some(Ok(Message::Text(text))) => take(&mut driver, text.into()),
                Some(Ok(Message::Binary(_))) => {
                    driver.refuse(Failure::new(ErrorCode::InvalidData, "only text messages"));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    driver.finish();
                    // What was begun is carried out, though nobody hears of it.
                    while driver.next_frame(0).await.is_ok() {}
                    return Ok(());
                }
            },
        }
    }
}

/// Hands over what a message holds; what is no JSON ends the connection.
fn take(driver: &mut Driver, text: Bytes) {
    let length = text.len();
    let limit = driver.frame_limit();
    if length > limit {
        let text = format!("a message has at most {limit} bytes");
        return driver.refuse(Failure::new(ErrorCode::InvalidData, text));
    }
    match Inbound::decode(text) {
        Ok(request) => driver.request(request, length),
        Err(error) => driver.refuse(Failure::new(ErrorCode::InvalidData, error.to_string())),
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, outbound: &Outbound) -> Served {
    let mut frame = bytes::BytesMut::new();
    outbound.encode(&mut frame, Braces::Plain);
    let text = Utf8Bytes::try_from(frame.freeze())?;
    Ok(socket.send(Message::Text(text)).await?)
}

/// That it keeps the promises of a transport.
#[cfg(all(test, feature = "testing"))]
#[path = "websocket/tests.rs"]
mod tests;
