//! A bridge to a webhook: what users write to `hook` is posted to a URL as JSON. The inbox of `hook` is the queue, which the
//! store keeps and bounds. `cargo run -p examples --bin webhook URL [FILE]` keeps messages in FILE, or in memory.

use axum::http::{Request, StatusCode, Uri, header};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use messenger_core::authenticator::Identity;
use messenger_core::proto::{EvMessage, Message};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::{Connection, Engine, SessionKind};
use messenger_server::{Server, Transport};
use messenger_sqlite::SqliteStorage;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long a post may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries again after a tenth of a second, then ever later, for as long as it takes.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times()
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("the webhook is not reached: {0}")]
    Away(#[from] hyper_util::client::legacy::Error),
    #[error("the webhook does not answer")]
    Silent,
    #[error("the webhook answers {0}")]
    Status(StatusCode),
    #[error("it cannot be posted: {0}")]
    Request(#[from] axum::http::Error),
}

impl PostError {
    /// True when it may help to try again.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Away(_) | Self::Silent => true,
            Self::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Request(_) => false,
        }
    }
}

/// Posts to one URL.
struct Webhook {
    url: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Webhook {
    async fn post(&self, message: &Message) -> Result<(), PostError> {
        let json = serde_json::json!({
            "id": message.id.as_str(),
            "from": message.from.as_str(),
            "nick": &*message.nick,
            "body": message.body.as_str(),
            "time": message.time,
        });
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(json.to_string()))?;
        let answered = timeout(PATIENCE, self.client.request(request)).await;
        let status = answered.map_err(|_| PostError::Silent)??.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(PostError::Status(status)),
        }
    }
}

/// Posts what comes, one after the other.
async fn forward(mut hook: Connection, webhook: Webhook) {
    // To ask for the next message says that the one before was processed: until then it stays in the inbox.
    while let Ok(EvMessage { message, .. }) = hook.next_message().await {
        let posted = (|| webhook.post(&message))
            .retry(backoff())
            .when(PostError::is_temporary)
            .notify(|error, after| println!("{error}; again in {after:?}"));
        match posted.await {
            Ok(()) => println!("posted {}", message.id.as_str()),
            Err(error) => println!("dropped {}: {error}", message.id.as_str()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("call it with: URL [FILE]")?;
    let storage: Arc<dyn Storage> = match std::env::args().nth(2) {
        Some(path) => Arc::new(SqliteStorage::open(path)?),
        None => Arc::new(MemoryStorage::new()),
    };
    let engine = Engine::builder().storage(storage).build()?;
    // From now on the login is taken.
    let hook = engine.connect_as(
        "hook".into(),
        Identity::new("Webhook"),
        SessionKind::Lasting,
    );
    let webhook = Webhook {
        url: url.parse()?,
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    let forwarding = tokio::spawn(forward(hook.await?, webhook));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", listener.local_addr()?);
    let server = Server::new(engine, Transport::default());
    let stop = async { _ = tokio::signal::ctrl_c().await };
    server.serve(listener, stop).await;
    // What is being posted comes again at the next start.
    forwarding.abort();
    Ok(())
}
