//! Sessions over TLS and WebSocket, on real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use messenger_client::proto::{Attachment, Password, SendMessage};
use messenger_client::{
    Builder, Client, ConnectionError, ConnectionState, Interruption, StartError,
};
use messenger_core::{Engine, Policy};
use messenger_server::websocket::Origins;
use messenger_server::{Server, Tls, Transport};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fs;
use std::future::pending;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);

/// A server that listens in all ways.
struct Listening {
    folder: TempDir,
    tcp: u16,
    tls: u16,
    websocket: u16,
    websocket_tls: u16,
}

impl Listening {
    async fn start() -> Self {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let engine = Engine::builder().policy(policy).build().unwrap();
        let server = Server::new(engine, Transport::default());
        let folder = tempfile::tempdir().unwrap();
        let [key, certificate] =
            ["key.pem", "certificate.pem"].map(|name| folder.path().join(name));
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        fs::write(&certificate, cert.pem()).unwrap();
        let secure = || Tls::load(&certificate, &key).unwrap();
        let [tcp, tls, websocket, websocket_tls] = [
            listen().await,
            listen().await,
            listen().await,
            listen().await,
        ];
        let listening = Self {
            tcp: port(&tcp),
            tls: port(&tls),
            websocket: port(&websocket),
            websocket_tls: port(&websocket_tls),
            folder,
        };
        let tls_server = (secure(), secure());
        tokio::spawn({
            let server = server.clone();
            async move { server.serve(tcp, pending()).await }
        });
        tokio::spawn({
            let server = server.clone();
            async move { server.serve_tls(tls, tls_server.0, pending()).await }
        });
        tokio::spawn({
            let server = server.clone();
            async move {
                let origins = Origins::SameHost;
                server
                    .serve_websocket(websocket, None, origins, pending())
                    .await
            }
        });
        tokio::spawn(async move {
            let origins = Origins::SameHost;
            server
                .serve_websocket(websocket_tls, Some(tls_server.1), origins, pending())
                .await
        });
        listening
    }

    /// The addresses, by the ways.
    fn addresses(&self) -> [String; 4] {
        [
            format!("localhost:{}", self.tcp),
            format!("tls://localhost:{}", self.tls),
            format!("ws://localhost:{}/ws", self.websocket),
            format!("wss://localhost:{}", self.websocket_tls),
        ]
    }

    fn builder(&self, address: &str) -> Builder {
        let pem = fs::read(self.folder.path().join("certificate.pem")).unwrap();
        Client::builder()
            .server(address)
            .roots(pem)
            .credentials("ann", pass())
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn pass() -> Password {
    Password::md5_of("secret")
}

#[tokio::test]
async fn messages_come_over_every_transport() {
    let listening = Listening::start().await;
    let addresses = listening.addresses();
    let (client, _events) = listening.builder(&addresses[3]).connect().await.unwrap();
    client.register("ann", &pass(), "Ann").await.unwrap();
    let mut devices = Vec::new();
    for address in &addresses {
        let (session, mut incoming) = listening.builder(address).start().await.unwrap();
        // To oneself, so that it is seen that the session is there.
        session.send("ann", address).await.unwrap();
        loop {
            let message = timeout(SOON, incoming.next_message())
                .await
                .unwrap()
                .unwrap();
            if message.message.body.as_str() == address {
                break;
            }
        }
        devices.push((session, incoming));
    }
    // More than goes through a buffer at once, and braces in it.
    let data = "}{".repeat(1 << 20);
    for (session, _) in &devices {
        let attach = Attachment::new("text/plain", data.as_str());
        let message = SendMessage::new("ann", "a file").attach(attach);
        let receipt = session.send_message(message).await.unwrap();
        timeout(SOON, receipt.accepted()).await.unwrap().unwrap();
    }
    for (_, incoming) in &mut devices {
        let mut files = 0;
        while files < 4 {
            let event = timeout(SOON, incoming.next_message())
                .await
                .unwrap()
                .unwrap();
            if event.message.body.as_str() == "a file" {
                assert_eq!(event.message.attach.data.as_str(), data);
                files += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let listening = Listening::start().await;
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for address in [&listening.addresses()[1], &listening.addresses()[3]] {
        let untrusted = listening.builder(address).roots(other.cert.pem());
        let wrong_name = listening.builder(&address.replace("localhost", "127.0.0.1"));
        for builder in [untrusted, wrong_name] {
            let (session, _incoming) = builder.start().await.unwrap();
            let mut states = session.states();
            let why = loop {
                let state = timeout(SOON, states.next()).await.unwrap().unwrap();
                assert!(!matches!(state, ConnectionState::Online));
                if let ConnectionState::Offline { why, .. } = state {
                    break why;
                }
            };
            let Interruption::NotConnected(error) = why else {
                panic!("{why}");
            };
            let ConnectionError::Io(error) = &*error else {
                panic!("{error}");
            };
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    }
    let builder = listening
        .builder("tls://localhost:1")
        .roots("no certificate");
    let started = builder.start().await;
    assert!(matches!(started, Err(StartError::Roots(_))), "{started:?}");
}

#[tokio::test]
async fn what_is_no_websocket_is_told() {
    let listening = Listening::start().await;
    let address = format!("ws://localhost:{}", listening.tcp);
    let connected = timeout(SOON, listening.builder(&address).connect()).await;
    assert!(
        matches!(connected, Ok(Err(ConnectionError::Io(_)))),
        "{connected:?}"
    );
}
