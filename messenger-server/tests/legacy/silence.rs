//! A deployed client that reads until nothing has come for 300 ms.
//!
//! It then splits all of it by counting braces, without looking at strings, and drops everything when the last byte is no
//! brace. It writes line breaks into strings as they are, waits for `auth` behind `register`, and breaks on a missing field.

use crate::support::SOON;
use crate::wire::Wire;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long it waits for more.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct Silence {
    wire: Wire,
    frames: VecDeque<Value>,
    pub(crate) received: VecDeque<String>,
    shown: VecDeque<String>,
}

impl Silence {
    pub(crate) async fn connect(wire: Wire) -> Self {
        let mut app = Self {
            wire,
            frames: VecDeque::new(),
            received: VecDeque::new(),
            shown: VecDeque::new(),
        };
        field(&app.answer("welcome").await, "message");
        app
    }

    /// Reads what there is.
    async fn read(&mut self) {
        let mut bytes = Vec::new();
        while let Some(write) = self.wire.write_within(SILENCE).await {
            bytes.extend_from_slice(&write.bytes);
        }
        if bytes.last() != Some(&b'}') {
            return;
        }
        let (mut depth, mut begin) = (0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let frame = serde_json::from_slice(&bytes[begin..=at]);
                self.frames.push_back(frame.expect("a frame"));
                begin = at + 1;
            }
        }
    }

    async fn next(&mut self) -> Value {
        let reading = async {
            while self.frames.is_empty() {
                self.read().await;
            }
        };
        timeout(SOON, reading).await.expect("a frame in time");
        self.frames.pop_front().unwrap()
    }

    async fn answer(&mut self, action: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["action"] == action {
                return frame;
            }
            self.note(&frame);
        }
    }

    fn note(&mut self, frame: &Value) {
        if frame["action"] != "ev_message" {
            return;
        }
        let data = field(frame, "data");
        for name in ["from", "nick", "time", "attach"] {
            field(data, name);
        }
        for name in ["mime", "data"] {
            field(field(data, "attach"), name);
        }
        let body = field(data, "body").as_str().unwrap().to_owned();
        match data.get("seq") {
            None => self.shown.push_back(body),
            Some(_) => self.received.push_back(body),
        }
    }

    /// Asks, with these fields of an object as they are, and a `cid` and `sid` that are nobody's.
    pub(crate) async fn ask(&mut self, action: &str, fields: &str) -> Value {
        let nobody = r#""cid":"null","sid":"null""#;
        self.wire.send(&format!(
            r#"{{"action":"{action}","data":{{{fields},{nobody}}}}}"#
        ));
        let mut answer = self.answer(action).await;
        let data = answer["data"].take();
        field(&data, "error");
        data
    }

    /// Registers and waits until it is logged in; false when the connection was another user's, and the server has
    /// closed it.
    pub(crate) async fn sign_up(&mut self, login: &str, nick: &str) -> bool {
        let fields = format!(r#""login":"{login}","pass":"secret","nick":"{nick}""#);
        let status = field(&self.ask("register", &fields).await, "status").clone();
        if status == 5 {
            self.wire.closed().await;
            return false;
        }
        assert_eq!(status, 0);
        let auth = self.answer("auth").await;
        assert_eq!(field(field(&auth, "data"), "status"), 0);
        true
    }

    pub(crate) async fn log_in(&mut self, login: &str) -> u64 {
        let fields = format!(r#""login":"{login}","pass":"secret""#);
        let accepted = self.ask("auth", &fields).await;
        field(&accepted, "sid");
        field(&accepted, "status").as_u64().unwrap()
    }

    pub(crate) async fn send(&mut self, to: &str, body: &str) {
        let fields = format!(r#""uid":"{to}","body":"{body}""#);
        assert_eq!(field(&self.ask("message", &fields).await, "status"), 0);
        let began = Instant::now();
        while self.shown.is_empty() {
            assert!(began.elapsed() < SOON, "its own copy does not come");
            let frame = self.next().await;
            self.note(&frame);
        }
        assert_eq!(self.shown.pop_front().unwrap(), body);
    }

    pub(crate) async fn receive(&mut self) -> String {
        loop {
            if let Some(body) = self.received.pop_front() {
                return body;
            }
            let frame = self.next().await;
            self.note(&frame);
        }
    }
}

/// A field that it cannot do without.
pub(crate) fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let found = value.get(name);
    found.unwrap_or_else(|| panic!("{name} is missing from {value}"))
}
