//! The examples do what their README shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a test fails by panicking

use futures_util::{SinkExt, StreamExt};
use messenger_client::proto::{EvMessage, Password};
use messenger_client::{Client, Events};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const SOON: Duration = Duration::from_secs(60);

#[cfg(feature = "testing")]
async fn output(program: &str) -> String {
    let output = timeout(SOON, Command::new(program).output())
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The web service, and where it is.
struct Service {
    child: Child,
    web: String,
    messenger: String,
}

impl Service {
    async fn start(file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed"))
            .arg(file)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let mut address = async |name: &str| {
            let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap();
            line.unwrap().strip_prefix(name).unwrap().to_owned()
        };
        Self {
            web: address("web on ").await,
            messenger: address("messenger on ").await,
            child,
        }
    }

    /// Head and body of the answer to a request.
    async fn http(&self, request: &str, cookie: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.web).await.unwrap();
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Cookie: {cookie}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The cookie of a user who has logged in on the web.
    async fn log_in(&self, login: &str, pass: &str) -> String {
        let request = format!("POST /login/{login}");
        let (head, _) = self.http(&request, "", pass).await;
        let (_, cookie) = head.split_once("set-cookie: ").expect(&head);
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn send(&self, cookie: &str, to: &str, body: &str) {
        let request = format!("POST /messages/{to}");
        let (head, body) = self.http(&request, cookie, body).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    }

    /// A phone, over TCP.
    async fn phone(&self, login: &str, pass: &str) -> (Client, Events) {
        let (phone, events) = messenger_client::connect(self.messenger.as_str())
            .await
            .unwrap();
        phone.auth(login, &Password::md5_of(pass)).await.unwrap();
        (phone, events)
    }

    /// Tells it to stop, in good order.
    async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status().await;
        assert!(told.unwrap().success());
        let ended = timeout(SOON, self.child.wait()).await.unwrap();
        assert!(ended.unwrap().success());
    }
}

/// Nick and body of the next message from somebody else.
async fn heard(events: &mut Events) -> (String, String) {
    loop {
        let event = timeout(SOON, events.next_message()).await.unwrap().unwrap();
        if event.seq.is_some() {
            let EvMessage { message, .. } = event;
            return (message.nick.to_string(), message.body.as_str().to_owned());
        }
    }
}

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embed.db");
    (folder, path)
}

#[tokio::test]
async fn who_logs_in_by_http_writes_to_a_phone_over_tcp() {
    let (_folder, path) = file();
    let service = Service::start(&path).await;
    let (head, _) = service.http("GET /inbox/0", "session=guessed", "").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let (head, _) = service.http("POST /login/ann", "", "wrong").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");

    let (bob, mut events) = service.phone("bob", "hidden").await;
    let ann = service.log_in("ann", "secret").await;
    // Ten requests, each a connection of its own, and no phone has to go.
    let (_phone, mut copies) = service.phone("ann", "secret").await;
    for number in 0..10 {
        let body = format!("hello {number}");
        service.send(&ann, "bob", &body).await;
        assert_eq!(heard(&mut events).await, ("Ann".to_owned(), body));
        let copy = timeout(SOON, copies.next_message()).await.unwrap().unwrap();
        assert_eq!(copy.message.to.as_str(), "bob");
    }
    bob.send("ann", "hello, Ann").await.unwrap();
    assert_eq!(heard(&mut copies).await.1, "hello, Ann");

    let (head, body) = service.http("POST /messages/nobody", &ann, "x").await;
    assert!(head.starts_with("HTTP/1.1 422 "), "{head}");
    assert!(body.contains("There is no such user"), "{body}");
}

#[tokio::test]
async fn the_web_reads_what_the_bot_answers_also_at_the_second_start() {
    let (_folder, path) = file();
    for start in 1..=2 {
        let service = Service::start(&path).await;
        let ann = service.log_in("ann", "secret").await;
        service.send(&ann, "echo", "hello").await;
        let after = format!("GET /inbox/{}", start - 1);
        let (_, answer) = service.http(&after, &ann, "").await;
        assert_eq!(answer, format!("{start} Echo Bot: you said: hello\n"));
        service.stop().await;
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn custom_storage() {
    let text = output(env!("CARGO_BIN_EXE_custom_storage")).await;
    assert!(text.contains("the store passes the suite\n"), "{text}");
}

/// A client that a WebSocket library makes, at the example's server.
struct WebSocket(tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>);

impl WebSocket {
    async fn connect(address: &str) -> Self {
        let (stream, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        let mut socket = Self(stream);
        assert_eq!(socket.receive().await["action"], "welcome");
        socket
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn receive(&mut self) -> serde_json::Value {
        let message = timeout(SOON, self.0.next()).await.unwrap().unwrap();
        serde_json::from_str(message.unwrap().to_text().unwrap()).unwrap()
    }

    /// True when the server closes the connection, saying nothing more.
    async fn is_closed(&mut self) -> bool {
        let message = timeout(SOON, self.0.next()).await.unwrap();
        matches!(message, Some(Ok(Message::Close(_))) | None)
    }

    async fn log_in(&mut self, login: &str) {
        for action in ["register", "auth"] {
            let data = format!(r#"{{"login":"{login}","pass":"secret","nick":"{login}"}}"#);
            self.send(&format!(r#"{{"action":"{action}","data":{data}}}"#))
                .await;
            assert_eq!(self.receive().await["data"]["status"], 0, "{action}");
        }
    }
}

#[tokio::test]
async fn websocket() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_websocket"));
    let mut server = server
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = timeout(SOON, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let address = line.strip_prefix("serving on ").unwrap();

    let mut ann = WebSocket::connect(address).await;
    ann.log_in("ann").await;
    let mut bob = WebSocket::connect(address).await;
    bob.log_in("bob").await;
    // Many at once: answered in order, each with its copy, and received in order.
    for number in 0..500 {
        let data = format!(r#"{{"uid":"bob","body":"{{{number}"}}"#);
        ann.send(&format!(r#"{{"action":"message","data":{data}}}"#))
            .await;
    }
    for number in 0..500 {
        assert_eq!(ann.receive().await["data"]["status"], 0);
        assert_eq!(ann.receive().await["data"]["body"], format!("{{{number}"));
        let event = bob.receive().await;
        assert_eq!(event["data"]["body"], format!("{{{number}"));
        assert_eq!(event["data"]["seq"], number + 1);
    }
    // What is no request is answered; what is no JSON is answered, and ends the connection.
    ann.send(r#"{"action":"dance"}"#).await;
    assert_eq!(ann.receive().await["data"]["status"], 3);
    ann.send("{").await;
    assert_eq!(ann.receive().await["data"]["status"], 3);
    assert!(ann.is_closed().await);
    let mut stranger = WebSocket::connect(address).await;
    stranger
        .send(&format!(r#"{{"action":"{}"}}"#, "x".repeat(20_000)))
        .await;
    assert_eq!(stranger.receive().await["data"]["status"], 3);
    assert!(stranger.is_closed().await);
}
