//! A deployed client that parses only the first frame of what a read brings.
//!
//! It reads 1,024 bytes at a time, makes text of each read by itself, puts it behind what has come, and as soon as that
//! begins with a whole object takes the object and forgets the rest. It sends what its user left alone as empty.

use crate::wire::Wire;
use messenger_proto::{Split, Splitter};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// How much it reads at once.
const READ: usize = 1024;

pub(crate) struct FirstFrame {
    wire: Wire,
    /// Its session, which it sends under both names.
    sid: String,
    /// The bodies of others' messages, in the order they came.
    received: VecDeque<String>,
    /// The bodies of its own that have come back.
    shown: VecDeque<String>,
}

impl FirstFrame {
    pub(crate) async fn connect(wire: Wire) -> Self {
        let mut app = Self {
            wire,
            sid: "null".to_owned(),
            received: VecDeque::new(),
            shown: VecDeque::new(),
        };
        assert_eq!(app.next().await.unwrap()["action"], "welcome");
        app
    }

    /// What it understands of what comes next; `None` when the connection is closed.
    async fn next(&mut self) -> Option<Value> {
        let mut text = String::new();
        let mut splitter = Splitter::new(usize::MAX);
        loop {
            let read = self.wire.read(READ).await;
            if read.is_empty() {
                return None;
            }
            text.push_str(&String::from_utf8_lossy(&read));
            match splitter.split(text.as_bytes()) {
                Ok(Split::Frame(place)) => {
                    return Some(serde_json::from_str(&text[place]).unwrap());
                }
                Ok(Split::Partial { skip }) => drop(text.drain(..skip)),
                // A frame's beginning was forgotten.
                Err(_) => {
                    text.clear();
                    splitter = Splitter::new(usize::MAX);
                }
            }
        }
    }

    /// The next answer to this; messages that come before it are shown.
    async fn answer(&mut self, action: &str) -> Option<Value> {
        loop {
            let mut frame = self.next().await?;
            if frame["action"] == action {
                return Some(frame["data"].take());
            }
            self.note(&frame);
        }
    }

    fn note(&mut self, frame: &Value) {
        if frame["action"] == "ev_message" {
            let data = &frame["data"];
            let body = data["body"].as_str().unwrap().to_owned();
            let is_own = data["from"] != data["to"] && data.get("seq").is_none();
            match is_own {
                true => self.shown.push_back(body),
                false => self.received.push_back(body),
            }
        }
    }

    pub(crate) async fn ask(&mut self, action: &str, mut data: Value) -> Value {
        data["cid"] = self.sid.as_str().into();
        data["sid"] = self.sid.as_str().into();
        self.wire
            .send(&json!({"action": action, "data": data}).to_string());
        self.answer(action).await.expect("an answer")
    }

    /// Registers, and logs in as if nobody had done that for it; false when the connection was another user's, and
    /// the server has closed it.
    pub(crate) async fn sign_up(&mut self, login: &str, nick: &str) -> bool {
        let data = json!({"login": login, "pass": "secret", "nick": nick});
        let registered = self.ask("register", data).await;
        if registered["status"] == 5 {
            self.wire.closed().await;
            return false;
        }
        assert_eq!(registered["status"], 0, "{registered}");
        // The server's own, which it takes for the answer to its own.
        assert_eq!(self.answer("auth").await.unwrap()["status"], 0);
        assert_eq!(self.log_in(login).await, 0);
        true
    }

    pub(crate) async fn log_in(&mut self, login: &str) -> u64 {
        let accepted = self
            .ask("auth", json!({"login": login, "pass": "secret"}))
            .await;
        self.sid = accepted["sid"].as_str().unwrap().to_owned();
        accepted["status"].as_u64().unwrap()
    }

    pub(crate) async fn send(&mut self, to: &str, body: &str) {
        let sent = self.ask("message", json!({"uid": to, "body": body})).await;
        assert_eq!(sent["status"], 0, "{sent}");
        while self.shown.is_empty() {
            let frame = self.next().await.expect("its own copy");
            self.note(&frame);
        }
        assert_eq!(self.shown.pop_front().unwrap(), body);
    }

    pub(crate) async fn receive(&mut self) -> String {
        loop {
            if let Some(body) = self.received.pop_front() {
                return body;
            }
            let frame = self.next().await.expect("a message");
            self.note(&frame);
        }
    }

    /// Sends requests without waiting for answers; how many of these it has seen when something else is answered.
    pub(crate) async fn flood(&mut self, requests: usize) -> usize {
        let frame = json!({"action": "delcontact", "data": {"uid": "nobody"}}).to_string();
        self.wire.send(&frame.repeat(requests));
        self.wire
            .send(&json!({"action": "contactlist", "data": {}}).to_string());
        let mut seen = 0;
        loop {
            let frame = self.next().await.expect("an answer");
            match frame["action"].as_str().unwrap() {
                "delcontact" => seen += 1,
                "contactlist" => return seen,
                _ => self.note(&frame),
            }
        }
    }
}
