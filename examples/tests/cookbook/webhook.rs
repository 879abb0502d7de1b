//! A bridge to a webhook.

use crate::support::{DEADLINE, Program, join};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// A service that is posted to. It answers as it is told, and 200 otherwise.
struct Webhook {
    url: String,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    posts: UnboundedReceiver<Value>,
}

#[derive(Clone)]
struct Web {
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    posts: UnboundedSender<Value>,
}

async fn take(State(web): State<Web>, body: String) -> StatusCode {
    let answer = web.answers.lock().unwrap().pop_front();
    web.posts
        .send(serde_json::from_str(&body).unwrap())
        .unwrap();
    answer.unwrap_or(StatusCode::OK)
}

impl Webhook {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, posts) = unbounded_channel();
        let answers = Arc::default();
        let web = Web {
            answers: Arc::clone(&answers),
            posts: sender,
        };
        let routes = Router::new().route("/hook", post(take)).with_state(web);
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self {
            url,
            answers,
            posts,
        }
    }

    fn answer(&self, statuses: &[u16]) {
        let statuses = statuses
            .iter()
            .map(|status| StatusCode::from_u16(*status).unwrap());
        self.answers.lock().unwrap().extend(statuses);
    }

    /// The body of the next message that is posted.
    async fn posted(&mut self) -> String {
        let post = timeout(DEADLINE, self.posts.recv()).await.unwrap().unwrap();
        assert_eq!(post["from"], "ann");
        assert_eq!(post["nick"], "ANN");
        assert!(post["id"].is_string() && post["time"].is_u64(), "{post}");
        post["body"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_users_write_is_posted_in_order_and_again_while_the_webhook_fails() {
    let mut webhook = Webhook::start().await;
    let mut program = Program::start(env!("CARGO_BIN_EXE_webhook"), &[&webhook.url]);
    let address = program.line_with("messenger on ").await;
    let (ann, _events) = join(&address, "ann").await;

    webhook.answer(&[503, 429, 200, 400]);
    for body in ["one", "two", "three"] {
        ann.send("hook", body).await.unwrap();
    }
    for expected in ["one", "one", "one", "two", "three"] {
        assert_eq!(webhook.posted().await, expected);
    }
    program.until("dropped ").await;
    program.until("posted ").await;
    program.stop().await;
}

#[tokio::test]
async fn what_was_not_posted_when_it_stopped_is_posted_at_the_next_start() {
    let mut webhook = Webhook::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhook.db");
    let start = |url: &str| {
        let arguments = [url, file.to_str().unwrap()];
        Program::start(env!("CARGO_BIN_EXE_webhook"), &arguments)
    };
    // Nobody listens there.
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}/", unused.local_addr().unwrap());
    drop(unused);

    let mut program = start(&nowhere);
    let address = program.line_with("messenger on ").await;
    let (ann, _events) = join(&address, "ann").await;
    ann.send("hook", "one").await.unwrap();
    ann.send("hook", "two").await.unwrap();
    program.line_with("the webhook is not reached").await;
    program.stop().await;

    let program = start(&webhook.url);
    assert_eq!(webhook.posted().await, "one");
    assert_eq!(webhook.posted().await, "two");
    program.stop().await;
}
