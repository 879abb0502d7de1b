//! A server in this process, and clients of raw bytes.
#![allow(dead_code)] // each test file uses its own part

pub(crate) mod bridge;
pub(crate) mod certificate;
pub(crate) mod http;
#[cfg(feature = "binary")]
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod websocket;

use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::{Engine, Policy};
use messenger_proto::{Split, Splitter};
#[cfg(feature = "websocket")]
use messenger_server::websocket::Origins;
use messenger_server::{Drained, Server, Transport};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// True in the test that holds over WebSocket what others hold over TCP.
#[cfg(feature = "websocket")]
const OVER_WEBSOCKET: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"over_websocket");

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    task: JoinHandle<Drained>,
}

impl TestServer {
    pub(crate) async fn start(policy: Policy, transport: Transport) -> Self {
        Self::start_on(Arc::new(MemoryStorage::new()), policy, transport).await
    }

    pub(crate) async fn start_on(
        storage: Arc<dyn Storage>,
        mut policy: Policy,
        transport: Transport,
    ) -> Self {
        // Tests flood on purpose.
        policy.rates = None;
        Self::limited(storage, policy, transport).await
    }

    /// A server with the policy's rate limits.
    pub(crate) async fn limited(
        storage: Arc<dyn Storage>,
        mut policy: Policy,
        transport: Transport,
    ) -> Self {
        // Passwords as cheap as they get.
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.passwords.at_once = 2;
        let engine = Engine::builder()
            .storage(storage)
            .policy(policy)
            .build()
            .unwrap();
        #[cfg(feature = "websocket")]
        let proxied = !transport.proxies.is_empty();
        let server = Server::new(engine, transport);
        let (listener, address) = listen().await;
        #[cfg(feature = "websocket")]
        if OVER_WEBSOCKET {
            return Self::over_websocket(server, listener, address, proxied).await;
        }
        let serving = server.clone();
        let task =
            tokio::spawn(async move { serving.serve(listener, std::future::pending()).await });
        Self {
            address,
            server,
            task,
        }
    }

    #[cfg(feature = "websocket")]
    async fn over_websocket(
        server: Server,
        listener: TcpListener,
        address: SocketAddr,
        proxied: bool,
    ) -> Self {
        let (entry, entered_by) = listen().await;
        let serving = server.clone();
        let task = tokio::spawn(async move {
            let serving =
                serving.serve_websocket(listener, None, Origins::default(), std::future::pending());
            tokio::select! {
                drained = serving => drained,
                () = bridge::carry(entry, address, proxied) => unreachable!("it goes on"),
            }
        });
        Self {
            address: entered_by,
            server,
            task,
        }
    }

    pub(crate) async fn connect(&self) -> Raw {
        let mut raw = Raw::new(TcpStream::connect(self.address).await.unwrap());
        let welcome = raw.frame().await;
        assert_eq!(welcome["action"], "welcome");
        assert!(welcome["time"].is_u64() && welcome["message"].is_string());
        assert!(welcome.get("data").is_none());
        raw
    }

    /// Registers, unless that was done, and authenticates; the session's secret.
    pub(crate) async fn log_in(&self, login: &str) -> (Raw, String) {
        let mut raw = self.connect().await;
        let sid = raw.log_in(login).await;
        (raw, sid)
    }

    pub(crate) async fn stopped(self) -> Drained {
        timeout(SOON, self.task).await.unwrap().unwrap()
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A client of raw bytes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    splitter: Splitter,
    received: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            splitter: Splitter::new(usize::MAX),
            received: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let sent = timeout(SOON, self.stream.write_all(text.as_bytes())).await;
        sent.expect("the server takes it").unwrap();
    }

    /// The next frame; `None` when the server has closed the connection.
    pub(crate) async fn try_frame(&mut self) -> Option<Value> {
        timeout(SOON, self.read_frame())
            .await
            .expect("a frame in time")
    }

    pub(crate) async fn frame(&mut self) -> Value {
        self.try_frame().await.expect("a frame, not the end")
    }

    async fn read_frame(&mut self) -> Option<Value> {
        loop {
            if let Split::Frame(place) = self.splitter.split(&self.received).unwrap() {
                assert_eq!(place.start, 0, "the server writes nothing between frames");
                let frame = serde_json::from_slice(&self.received[place.clone()]).unwrap();
                self.received.drain(..place.end);
                return Some(frame);
            }
            let mut chunk = vec![0; 64 * 1024];
            match self.stream.read(&mut chunk).await {
                Ok(0) => {
                    assert!(self.received.is_empty(), "the server ended within a frame");
                    return None;
                }
                Ok(read) => self.received.extend_from_slice(&chunk[..read]),
                Err(error) => panic!("reading failed: {error}"),
            }
        }
    }

    pub(crate) async fn log_in(&mut self, login: &str) -> String {
        let data = format!(r#"{{"login":"{login}","pass":"secret","nick":"Nick {login}"}}"#);
        self.send(&format!(r#"{{"action":"register","data":{data}}}"#))
            .await;
        let registered = self.frame().await;
        let status = &registered["data"]["status"];
        assert!(*status == 0 || *status == 1 || *status == 5, "{registered}");
        self.send(&format!(r#"{{"action":"auth","data":{data}}}"#))
            .await;
        let accepted = self.frame().await;
        assert_eq!(accepted["data"]["status"], 0, "{accepted}");
        accepted["data"]["sid"].as_str().unwrap().to_owned()
    }

    /// Sends a request without effect and expects its answer next.
    pub(crate) async fn probe(&mut self) {
        self.send(r#"{"action":"contactlist","data":{}}"#).await;
        let answer = self.frame().await;
        assert_eq!(answer["action"], "contactlist", "{answer}");
    }
}
