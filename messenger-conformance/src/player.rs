//! Plays a rule's conversation with the server, until its end or the first fault.

use crate::compare::compare;
use crate::connection::{Came, Connection, Outgoing, Target};
use crate::names::Names;
use crate::rule::{Act, Rule, Step, Then};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

/// What did not happen as the rule has it.
#[derive(Debug, Serialize)]
pub(crate) struct Fault {
    /// The connection on which it did not.
    pub(crate) on: String,
    /// What was last sent on it.
    pub(crate) sent: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// Plays the rule; the first fault, if there is one.
pub(crate) async fn play(rule: &Rule, target: &Target, patience: Duration) -> Result<(), Fault> {
    let mut player = Player {
        target,
        patience,
        names: Names::fresh().map_err(cannot_play)?,
        registered: HashSet::new(),
        open: BTreeMap::new(),
    };
    for step in &rule.steps {
        player.step(step).await?;
    }
    // What comes twice, or should not come at all, comes behind what was expected.
    let open: Vec<_> = player.open.keys().cloned().collect();
    for on in open {
        player.quiet(&on).await?;
    }
    Ok(())
}

/// The fault is the rule's.
fn cannot_play(sentence: String) -> Fault {
    Fault {
        on: String::new(),
        sent: String::new(),
        expected: "a rule that can be played".into(),
        got: sentence,
    }
}

struct Player<'a> {
    target: &'a Target,
    patience: Duration,
    names: Names,
    /// The users who have an account.
    registered: HashSet<String>,
    open: BTreeMap<String, Open>,
}

struct Open {
    connection: Box<dyn Connection>,
    /// What was last sent.
    sent: String,
}

impl Player<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Fault> {
        let on = step.on.as_str();
        if !self.open.contains_key(on) {
            self.connect(on).await?;
        }
        match &step.act {
            Act::LogIn(user) => self.log_in(on, user).await,
            Act::Send(frame) => self.send(on, frame).await,
            Act::SendText(text) => {
                let text = self.names.text(text).map_err(cannot_play)?;
                self.send_this(on, text.clone(), Outgoing::Text(text)).await
            }
            Act::SendHex(digits) => {
                let bytes = HEXLOWER.decode(digits.as_bytes());
                let bytes = bytes.map_err(|error| cannot_play(error.to_string()))?;
                self.send_this(on, digits.clone(), Outgoing::Bytes(bytes))
                    .await
            }
            Act::SendBytewise(frame) => {
                let text = self.names.value(frame).map_err(cannot_play)?.to_string();
                self.send_this(on, text.clone(), Outgoing::Bytewise(text))
                    .await
            }
            Act::Expect(frame) => self.expect(on, frame).await,
            Act::ExpectText(part) => self.expect_text(on, part).await,
            Act::Closed(code) => self.closed(on, *code).await,
            Act::Then(Then::Quiet) => self.quiet(on).await,
            Act::Then(Then::Close) => {
                self.open.remove(on);
                Ok(())
            }
        }
    }

    /// Opens a connection and reads its welcome.
    async fn connect(&mut self, on: &str) -> Result<(), Fault> {
        let connected = timeout(self.patience, self.target.connect()).await;
        let connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.fault(on, "a connection", error.to_string())),
            Err(_) => return Err(self.fault(on, "a connection", self.nothing())),
        };
        let sent = "nothing yet".to_owned();
        self.open.insert(on.to_owned(), Open { connection, sent });
        self.names.forget("time.welcome");
        let welcome =
            json!({"action": "welcome", "message": "$_", "time": "#time.welcome", "data": null});
        self.expect(on, &welcome).await
    }

    /// Has an account made, unless that was done, and a session begun, whose secret is then `$CONNECTION.sid`.
    async fn log_in(&mut self, on: &str, user: &str) -> Result<(), Fault> {
        let (login, nick) = (format!("${user}"), format!("${user}.nick"));
        if self.registered.insert(user.to_owned()) {
            let data = json!({"login": login, "pass": "secret", "nick": nick});
            self.send(on, &json!({"action": "register", "data": data}))
                .await?;
            let made = json!({"action": "register", "data": {"status": 0, "error": "OK"}});
            self.expect(on, &made).await?;
        }
        let data = json!({"login": login, "pass": "secret"});
        self.send(on, &json!({"action": "auth", "data": data}))
            .await?;
        let sid = format!("{on}.sid");
        self.names.forget(&sid);
        let data = json!({"status": 0, "error": "OK", "sid": format!("${sid}"), "uid": login, "cid": login, "nick": nick});
        self.expect(on, &json!({"action": "auth", "data": data}))
            .await
    }

    async fn send(&mut self, on: &str, frame: &Value) -> Result<(), Fault> {
        let text = self.names.value(frame).map_err(cannot_play)?.to_string();
        self.send_this(on, text.clone(), Outgoing::Text(text)).await
    }

    async fn send_this(&mut self, on: &str, sent: String, what: Outgoing) -> Result<(), Fault> {
        let patience = self.patience;
        let Some(open) = self.open.get_mut(on) else {
            return Err(cannot_play(format!("{on} is closed")));
        };
        open.sent = sent;
        match timeout(patience, open.connection.send(what)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.fault(on, "that the server takes what is sent", self.nothing())),
        }
    }

    async fn expect(&mut self, on: &str, expected: &Value) -> Result<(), Fault> {
        let shown = self
            .names
            .value(expected)
            .unwrap_or_else(|_| expected.clone());
        let frame = self.frame(on, &shown.to_string()).await?;
        let compared = match serde_json::from_str(&frame) {
            Ok(found) => compare(expected, &found, &mut self.names),
            Err(error) => Err(error.to_string()),
        };
        compared.map_err(|difference| {
            self.fault(on, &shown.to_string(), format!("{difference}: {frame}"))
        })
    }

    async fn expect_text(&mut self, on: &str, part: &str) -> Result<(), Fault> {
        let expected = format!("a frame that has {part} in it");
        let frame = self.frame(on, &expected).await?;
        match frame.contains(part) {
            true => Ok(()),
            false => Err(self.fault(on, &expected, frame)),
        }
    }

    async fn frame(&mut self, on: &str, expected: &str) -> Result<String, Fault> {
        match self.next(on).await {
            Ok(Came::Frame(frame)) => Ok(frame),
            Ok(other) => Err(self.fault(on, expected, told(other))),
            Err(nothing) => Err(self.fault(on, expected, nothing)),
        }
    }

    async fn closed(&mut self, on: &str, code: u16) -> Result<(), Fault> {
        let expected = format!("the end (over WebSocket with code {code})");
        let got = match self.next(on).await {
            Ok(Came::Closed(None)) if matches!(self.target, Target::Tcp(_)) => None,
            Ok(Came::Closed(Some(given))) if given == code => None,
            Ok(other) => Some(told(other)),
            Err(nothing) => Some(nothing),
        };
        match got {
            None => {
                self.open.remove(on);
                Ok(())
            }
            Some(got) => Err(self.fault(on, &expected, got)),
        }
    }

    /// Two requests without effect are answered one behind the other: an event on its way may come behind the first answer,
    /// but not behind the second.
    async fn quiet(&mut self, on: &str) -> Result<(), Fault> {
        for _ in 0..2 {
            self.send(on, &json!({"action": "contactlist", "data": {}}))
                .await?;
            self.expect(on, &json!({"action": "contactlist"})).await?;
        }
        Ok(())
    }

    /// What comes next; a sentence if nothing does.
    async fn next(&mut self, on: &str) -> Result<Came, String> {
        let patience = self.patience;
        let Some(open) = self.open.get_mut(on) else {
            return Err(format!("{on} is closed"));
        };
        let came = timeout(patience, open.connection.next()).await;
        came.map_err(|_| self.nothing())
    }

    fn nothing(&self) -> String {
        format!("nothing for {} seconds", self.patience.as_secs())
    }

    fn fault(&self, on: &str, expected: &str, got: String) -> Fault {
        let open = self.open.get(on);
        Fault {
            on: on.to_owned(),
            sent: open.map_or("nothing yet", |open| &open.sent).to_owned(),
            expected: expected.to_owned(),
            got,
        }
    }
}

/// What came instead of something else.
fn told(came: Came) -> String {
    match came {
        Came::Frame(frame) => frame,
        Came::Closed(None) => "the end".into(),
        Came::Closed(Some(code)) => format!("the end, with code {code}"),
        Came::Wrong(sentence) => sentence,
    }
}
