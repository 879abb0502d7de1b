//! A server with its page, and what people do there.

use super::webdriver::{Browser, ENTER};
use crate::support::Raw;
use crate::support::process::{Process, flags};
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

pub(crate) struct Site {
    folder: TempDir,
    process: Process,
    /// Where the page is.
    pub(crate) web: String,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(folder.path().join("store.db"), "127.0.0.1:0").await;
        let web = process.address_behind("serving the page").await;
        Self {
            folder,
            process,
            web,
        }
    }

    /// Somebody who is connected over TCP.
    pub(crate) async fn client(&self, login: &str) -> Raw {
        let mut client = self.connect().await;
        client.log_in(login).await;
        client
    }

    /// A connection over TCP.
    pub(crate) async fn connect(&self) -> Raw {
        let mut client = Raw::new(TcpStream::connect(&self.process.address).await.unwrap());
        assert_eq!(client.frame().await["action"], "welcome");
        client
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.web)
    }

    /// A file with this content, for a browser to choose.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Ends all sessions of a user, as an operator does.
    pub(crate) async fn end_sessions(&self, login: &str) {
        let store = format!("sqlite:{}", self.folder.path().join("store.db").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
        let command = command
            .stdout(Stdio::null())
            .args(["session", "end", login, "all", "--store", &store]);
        assert!(command.status().await.unwrap().success());
    }

    /// Kills the server as a power cut would; what to start it again with.
    pub(crate) async fn kill(self) -> Down {
        self.process.kill().await;
        Down {
            folder: self.folder,
            web: self.web,
        }
    }
}

/// A site whose server is away.
pub(crate) struct Down {
    folder: TempDir,
    web: String,
}

impl Down {
    pub(crate) async fn up(self) -> Site {
        let process = spawn(self.folder.path().join("store.db"), &self.web).await;
        process.logs("serving the page").await;
        Site {
            folder: self.folder,
            process,
            web: self.web,
        }
    }
}

async fn spawn(store: PathBuf, web: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    command.args(flags(&store)).args(["--web-listen", web]);
    Process::spawn(command).await
}

/// What somebody does over TCP.
impl Raw {
    /// Sends a message, and waits for the answer and the own copy.
    pub(crate) async fn say(&mut self, uid: &str, body: &str) {
        self.say_with(uid, body, "", "").await;
    }

    /// Sends a message with an attachment, which is base64 text.
    pub(crate) async fn say_with(&mut self, uid: &str, body: &str, mime: &str, data: &str) {
        let attach = json!({ "mime": mime, "data": data });
        let message =
            json!({ "action": "message", "data": { "uid": uid, "body": body, "attach": attach } });
        self.send(&message.to_string()).await;
        loop {
            let frame = self.frame().await;
            if frame["action"] == "message" {
                assert_eq!(frame["data"]["status"], 0, "{frame}");
            } else if frame["data"]["body"] == body {
                return;
            }
        }
    }
}

/// What somebody does on the page.
impl Browser {
    /// Creates an account and logs in.
    pub(crate) async fn sign_up(&self, site: &Site, login: &str, nick: &str) {
        self.open(&site.url()).await;
        self.click(".login form .link").await;
        self.fill("[name=login]", login).await;
        self.fill("[name=nick]", nick).await;
        self.fill("[name=pass]", "secret").await;
        self.keys(ENTER).await;
        self.wait(
            "document.querySelector('.people') && document.querySelector('.connection').hidden",
        )
        .await;
    }

    /// Logs in, where the log-in is shown.
    pub(crate) async fn log_in(&self, login: &str) {
        self.fill("[name=login]", login).await;
        self.fill("[name=pass]", "secret").await;
        self.keys(ENTER).await;
        self.wait(
            "document.querySelector('.people') && document.querySelector('.connection').hidden",
        )
        .await;
    }

    /// Looks for somebody by login, makes them a contact, and opens the conversation.
    pub(crate) async fn befriend(&self, uid: &str) {
        self.fill("[type=search]", uid).await;
        self.keys(ENTER).await;
        self.click("dialog footer button:first-child").await;
        self.wait("document.querySelector('.toasts p')").await;
        self.click("dialog footer .primary").await;
        self.wait("document.querySelector('.conversation textarea')")
            .await;
    }

    /// Opens the conversation with somebody who is in the list.
    pub(crate) async fn read(&self, nick: &str) {
        let find = format!(
            "[...document.querySelectorAll('.people button')].find((button) => button.querySelector('.nick')?.textContent === {nick:?})"
        );
        self.wait(&format!("{find} !== undefined")).await;
        self.wait(&format!("({find}.click(), true)")).await;
        self.wait("document.querySelector('.conversation textarea')")
            .await;
    }

    pub(crate) async fn write(&self, text: &str) {
        self.fill(".composer textarea", text).await;
        self.keys(ENTER).await;
    }

    /// Waits until the conversation that is open ends with this text, and everything was sent.
    pub(crate) async fn sees(&self, text: &str) {
        let last = "[...document.querySelectorAll('.message .text')].at(-1)?.textContent";
        self.wait(&format!(
            "{last} === {text:?} && !document.querySelector('.pending')"
        ))
        .await;
    }

    /// The texts of the conversation that is open.
    pub(crate) async fn texts(&self) -> Vec<String> {
        let texts =
            "[...document.querySelectorAll('.message .text')].map((text) => text.textContent)";
        serde_json::from_value(self.value(texts).await).unwrap()
    }
}
