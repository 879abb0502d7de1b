//! Programs, a messenger for those that are clients, and users over TCP.

use messenger_client::proto::{EvMessage, Password};
use messenger_client::{Client, Events};
use messenger_core::Engine;
use messenger_server::{Server, Transport};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// How long anything may take: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A program that runs, and ends with the test.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(path: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        line.unwrap().unwrap().expect("it has ended")
    }

    /// The rest of the next line, which begins with this.
    pub(crate) async fn line_with(&mut self, start: &str) -> String {
        let line = self.line().await;
        let rest = line.strip_prefix(start);
        rest.unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// The rest of the first line that begins with this.
    pub(crate) async fn until(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().await.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends it a signal: `INT`, `TERM`.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        // It begins to heed signals a moment after it has started.
        let began = Instant::now();
        while !heeds_signals(&pid) {
            assert!(began.elapsed() < DEADLINE, "it heeds no signal");
            sleep(Duration::from_millis(10)).await;
        }
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.await.unwrap().success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap()
    }

    /// Tells it to stop, which it does in good order.
    pub(crate) async fn stop(mut self) {
        self.signal("INT").await;
        assert!(self.ended().await.success());
    }
}

/// Whether the process catches SIGINT or SIGTERM.
fn heeds_signals(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
    // Signal N is bit N - 1.
    caught & (1 << 1 | 1 << 14) != 0
}

/// A messenger within the test, for programs that are clients. Where it listens.
pub(crate) async fn messenger() -> String {
    let engine = Engine::builder().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::new(engine, Transport::default());
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}

/// A user of the messenger there, registered if that is needed.
pub(crate) async fn join(address: &str, login: &str) -> (Client, Events) {
    let connected = timeout(DEADLINE, messenger_client::connect(address)).await;
    let (client, events) = connected.unwrap().unwrap();
    let pass = Password::md5_of("secret");
    let nick = login.to_uppercase();
    // Refused when it was done before.
    let _ = client.register(login, &pass, &nick).await;
    client.auth(login, &pass).await.unwrap();
    (client, events)
}

/// The next message from somebody else.
pub(crate) async fn heard(events: &mut Events) -> EvMessage {
    loop {
        let event = timeout(DEADLINE, events.next_message()).await;
        let event = event.unwrap().unwrap();
        if event.seq.is_some() {
            return event;
        }
    }
}

/// Its text.
pub(crate) async fn heard_text(events: &mut Events) -> String {
    heard(events).await.message.body.as_str().to_owned()
}

/// What a web server answers to a GET.
pub(crate) async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    answer
}
