//! Browsers, driven over the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// How long anything in a browser may take on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How often chromedriver is started: it ends when the port that it was given is taken at another of its addresses.
const STARTS: usize = 5;

/// How long one script may take.
const SCRIPT: Duration = Duration::from_secs(300);

/// The key under which an element's id comes.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const DOWN: &str = "\u{e015}";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const TAB: &str = "\u{e004}";

/// Browsers need much of a machine: one test at a time has some.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// A chromedriver, which ends with its browsers when it is dropped.
pub(crate) struct Driver {
    child: Child,
    port: u16,
    _turn: SemaphorePermit<'static>,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let turn = ONE_AT_A_TIME.acquire().await.unwrap();
        for _ in 0..STARTS {
            let mut child = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .expect("chromedriver is installed");
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let port = async {
                while let Some(line) = lines.next_line().await.unwrap() {
                    if let Some((_, port)) = line.split_once("successfully on port ") {
                        return Some(port.trim_end_matches('.').parse().unwrap());
                    }
                }
                None
            };
            let Some(port) = timeout(SOON, port).await.unwrap() else {
                continue;
            };
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Self {
                child,
                port,
                _turn: turn,
            };
        }
        panic!("chromedriver ends");
    }

    /// A browser of its own, which shares nothing with others.
    pub(crate) async fn browser(&self) -> Browser {
        let arguments = [
            "--headless=new",
            // Chromium refuses to run as root with it, and containers seldom allow it.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--lang=en",
            "--window-size=1100,720",
        ];
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "prefs": { "intl.accept_languages": "en" } },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 1000 * SCRIPT.as_secs() },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let session = call(self.port, Method::POST, "/session", Some(wanted))
            .await
            .unwrap();
        let id = session["sessionId"].as_str().unwrap().to_owned();
        Browser {
            port: self.port,
            id,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browsers are in its group.
        let group = format!("-{}", self.child.id().unwrap());
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &group])
            .status();
    }
}

/// One request of the protocol; what it brought, or the error's text.
async fn call(port: u16, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
    let answered = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let mut answer = timeout(2 * SCRIPT, answered)
        .await
        .expect("the browser answers");
    match answer["value"].take() {
        Value::Object(error) if error.contains_key("error") => Err(Value::from(error).to_string()),
        value => Ok(value),
    }
}

pub(crate) struct Browser {
    port: u16,
    id: String,
}

impl Browser {
    async fn try_post(&self, what: &str, body: Value) -> Result<Value, String> {
        let path = format!("/session/{}/{what}", self.id);
        call(self.port, Method::POST, &path, Some(body)).await
    }

    async fn post(&self, what: &str, body: Value) -> Value {
        let answer = self.try_post(what, body).await;
        answer.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    pub(crate) async fn reload(&self) {
        self.post("refresh", json!({})).await;
    }

    /// The value of a JavaScript expression, which may be awaited.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let value = self.try_value(expression).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_value(&self, expression: &str) -> Result<Value, String> {
        let script = format!(
            "const done = arguments[0];
             (async () => ({expression}))().then((value) => done({{ value }}), (error) => done({{ error: String(error?.stack ?? error) }}));"
        );
        let mut answer = self
            .try_post("execute/async", json!({ "script": script, "args": [] }))
            .await?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["value"].take()),
        }
    }

    /// Waits until a JavaScript expression is true, also while the page is loaded anew; its value.
    pub(crate) async fn wait(&self, expression: &str) -> Value {
        let polled = format!(
            "(async () => {{
                const until = Date.now() + 2000;
                for (;;) {{
                    const value = await ({expression});
                    if (value || Date.now() > until) return value ?? null;
                    await new Promise((resolve) => setTimeout(resolve, 30));
                }}
            }})()"
        );
        let deadline = Instant::now() + SOON;
        loop {
            let value = self.try_value(&polled).await;
            match value {
                Ok(value) if !matches!(value, Value::Null | Value::Bool(false)) => return value,
                value if Instant::now() > deadline => {
                    let page = self.value("document.body.innerText").await;
                    panic!("it never was: {expression} ({value:?}); the page: {page}")
                }
                _ => {}
            }
        }
    }

    /// Waits until there is an element, and gives its id.
    async fn element(&self, selector: &str) -> String {
        self.wait(&format!("document.querySelector({selector:?}) !== null"))
            .await;
        let found = json!({ "using": "css selector", "value": selector });
        let found = self.post("element", found).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks on what is there, or will be.
    pub(crate) async fn click(&self, selector: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let element = self.element(selector).await;
            // It may be moved or replaced meanwhile.
            match self
                .try_post(&format!("element/{element}/click"), json!({}))
                .await
            {
                Ok(_) => return,
                Err(error) if Instant::now() > deadline => panic!("{selector}: {error}"),
                Err(_) => {}
            }
        }
    }

    /// Types into a field, or gives a file's path to one for files.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    /// Types to whatever has the focus.
    pub(crate) async fn keys(&self, keys: &str) {
        let strokes = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key })));
        let strokes: Vec<_> = strokes.collect();
        let keyboard = json!([{ "type": "key", "id": "keyboard", "actions": strokes }]);
        self.post("actions", json!({ "actions": keyboard })).await;
    }

    /// Opens another tab, which is the one that everything goes to then; what to come back to this one with.
    pub(crate) async fn new_tab(&self) -> Tab {
        let path = format!("/session/{}/window", self.id);
        let this = call(self.port, Method::GET, &path, None).await.unwrap();
        let other = self.post("window/new", json!({ "type": "tab" })).await;
        self.post("window", json!({ "handle": other["handle"] }))
            .await;
        Tab(this)
    }

    /// Comes to another tab; what to come back to this one with.
    pub(crate) async fn switch(&self, tab: &Tab) -> Tab {
        let path = format!("/session/{}/window", self.id);
        let this = call(self.port, Method::GET, &path, None).await.unwrap();
        self.post("window", json!({ "handle": tab.0 })).await;
        Tab(this)
    }

    /// Has the page shown light or dark.
    pub(crate) async fn colours(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Has the page shown on a screen of this many pixels.
    pub(crate) async fn screen(&self, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
    }

    pub(crate) async fn devtools(&self, command: &str, params: Value) -> Value {
        self.post(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": params }),
        )
        .await
    }

    /// A picture of the page, as base64 text of a PNG.
    pub(crate) async fn picture(&self) -> String {
        let path = format!("/session/{}/screenshot", self.id);
        let picture = call(self.port, Method::GET, &path, None).await.unwrap();
        picture.as_str().unwrap().to_owned()
    }

    /// What the browser complained of: errors of scripts, and what the content security policy has refused.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let lines = self.post("se/log", json!({ "type": "browser" })).await;
        let lines = lines.as_array().unwrap().iter();
        let severe = lines.filter(|line| line["level"] == "SEVERE");
        let texts = severe.map(|line| line["message"].as_str().unwrap().to_owned());
        // That the server was away for a time is the test's own doing.
        texts
            .filter(|text| !text.contains("WebSocket connection"))
            .collect()
    }
}

/// A tab of a browser.
pub(crate) struct Tab(Value);
