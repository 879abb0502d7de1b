//! Nodes, and devices of users on them.

use crate::support::http::get;
use crate::support::process::Process;
use messenger_client::proto::{EvMessage, Password, SessionId};
use messenger_client::{Client, ClientError, Event, Events, connect};
use std::net::SocketAddr;
use std::time::Duration;
use testing_servers::{DEADLINE, Nats, Postgres};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// Nodes on one database, and on NATS.
pub(crate) struct Cluster {
    pub(crate) postgres: Postgres,
    pub(crate) nats: Nats,
    pub(crate) store: String,
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    /// Two nodes, without rate limits.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--no-rate-limits"]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let (postgres, nats) = (Postgres::start().await, Nats::start(&[]));
        let store = postgres.database().await;
        let mut nodes = Vec::new();
        for _ in 0..2 {
            nodes.push(Node::start(&store, &nats.url(), flags).await);
        }
        Self {
            postgres,
            nats,
            store,
            nodes,
        }
    }

    /// Waits until both nodes say that all is well.
    pub(crate) async fn is_ready(&self) {
        for node in &self.nodes {
            node.is_ready().await;
        }
    }
}

/// A server's process.
pub(crate) struct Node {
    pub(crate) process: Process,
    monitoring: SocketAddr,
}

impl Node {
    pub(crate) async fn start(store: &str, nats: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        command
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(["--store", store, "--notifier", nats])
            .args(flags);
        let process = Process::spawn_limited(command).await;
        let monitoring = process.address_behind("metrics are told").await;
        Self {
            process,
            monitoring: monitoring.parse().unwrap(),
        }
    }

    /// Waits until it says that all is well.
    pub(crate) async fn is_ready(&self) {
        self.says(200, "ready\n").await;
    }

    /// Waits until `/readyz` has this status, and says this.
    pub(crate) async fn says(&self, status: u16, expected: &str) {
        let said = async {
            loop {
                let (found, page) = get(self.monitoring, "/readyz").await;
                // What fails is told in more words than are expected here.
                let is_so = match expected {
                    "ready\n" => page == expected,
                    _ => page.starts_with(expected),
                };
                if found == status && is_so {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let said = timeout(DEADLINE, said).await;
        assert!(said.is_ok(), "{expected:?} is not said");
    }

    /// The value of a metric that has no labels.
    pub(crate) async fn counts(&self, metric: &str) -> u64 {
        let (_, page) = get(self.monitoring, "/metrics").await;
        let line = |line: &str| line.strip_prefix(metric)?.trim().parse().ok();
        let value = page.lines().find_map(line);
        value.unwrap_or_else(|| panic!("{metric} is not counted: {page}"))
    }

    /// A new device of a user, who is registered if need be.
    pub(crate) async fn join(&self, login: &str) -> Device {
        let (client, events) = connect(&self.process.address).await.unwrap();
        let pass = Password::md5_of("secret");
        // Registered already, or by another device just now.
        let _ = client.register(login, &pass, login).await;
        let session = client.auth(login, &pass).await.unwrap().sid;
        Device {
            client,
            events,
            login: login.to_owned(),
            session,
        }
    }

    /// A device that has been somewhere before.
    pub(crate) async fn resume(&self, login: &str, session: SessionId) -> Device {
        let (client, events) = connect(&self.process.address).await.unwrap();
        client.resume(&login.into(), &session).await.unwrap();
        Device {
            client,
            events,
            login: login.to_owned(),
            session,
        }
    }
}

/// A user's connection to a node.
pub(crate) struct Device {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) login: String,
    pub(crate) session: SessionId,
}

impl Device {
    /// The next message, of whomever.
    pub(crate) async fn next(&mut self) -> EvMessage {
        let Event::Message(message) = timeout(DEADLINE, self.events.next())
            .await
            .expect("a message in time")
            .expect("a message")
        else {
            panic!("something else than a message");
        };
        message
    }

    /// The body of the next message of somebody else.
    pub(crate) async fn hears(&mut self) -> String {
        loop {
            let message = self.next().await.message;
            if message.from.as_str() != self.login {
                return message.body.as_str().to_owned();
            }
        }
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn is_closed(&mut self) {
        let closed = async { while self.events.next().await.is_ok() {} };
        timeout(DEADLINE, closed).await.expect("it is closed");
    }

    /// Sends until it is accepted, under one `mid`.
    pub(crate) async fn insists(&self, message: messenger_client::proto::SendMessage) {
        let sent = async {
            while let Err(error) = self.client.send_message(message.clone()).await {
                assert!(matches!(error, ClientError::Refused(_)), "{error}");
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, sent).await.expect("it is accepted");
    }
}
