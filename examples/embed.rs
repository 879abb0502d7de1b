//! The engine inside a web service with users of its own: they have a cookie on the web, and log in by TCP with
//! the same password. One user is a bot. `cargo run -p examples --bin embed [FILE]` keeps messages in FILE, or
//! in memory; then try
//!
//! ```text
//! curl -c jar -d secret http://ADDRESS/login/ann
//! curl -b jar -d hello http://ADDRESS/messages/echo
//! curl -b jar http://ADDRESS/inbox/0
//! ```

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::routing::{get, post};
use messenger_core::authenticator::{Authenticator, AuthenticatorError, Identity, Verdict};
use messenger_core::entropy::{Entropy, OsEntropy};
use messenger_core::proto::{EvMessage, Failure, Password, SendMessage, UserId};
use messenger_core::storage::{MemoryStorage, Storage};
use messenger_core::{Connection, Engine, SessionKind, async_trait};
use messenger_server::{Server, Transport};
use messenger_sqlite::SqliteStorage;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long a request for messages waits for one.
const WAIT: Duration = Duration::from_secs(20);

/// The service's users: logins, passwords, nicks. (A real one keeps hashes.)
const USERS: [(&str, &str, &str); 2] = [("ann", "secret", "Ann"), ("bob", "hidden", "Bob")];

fn find(login: &str) -> Option<(&'static str, Identity)> {
    let user = USERS.iter().find(|(own, ..)| *own == login);
    user.map(|(_, pass, nick)| (*pass, Identity::new(*nick)))
}

/// Tells the engine who the users are, for those that log in by TCP.
struct Users;

#[async_trait]
impl Authenticator for Users {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        Ok(find(login.as_str()).map(|(_, identity)| identity))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        Ok(match find(login.as_str()) {
            None => Verdict::NoSuchLogin,
            // Most clients send the MD5.
            Some((own, identity)) if [Password::md5_of(own), own.into()].contains(pass) => {
                Verdict::Accepted(identity)
            }
            Some(_) => Verdict::WrongPass,
        })
    }
}

/// The web service: the engine, and whose the cookies are.
struct Web {
    engine: Engine,
    cookies: Mutex<HashMap<String, UserId>>,
}

type Refusal = (StatusCode, String);

fn refuse(failure: Failure) -> Refusal {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("{failure}\n"))
}

impl Web {
    /// A connection for one request, as the user whose cookie it has. However many there are, no phone is logged
    /// out for them.
    async fn connect(
        &self,
        headers: &HeaderMap,
        after: Option<u64>,
    ) -> Result<Connection, Refusal> {
        let cookie = headers.get(header::COOKIE);
        let cookie = cookie.and_then(|text| text.to_str().ok()?.strip_prefix("session="));
        let user = cookie.and_then(|cookie| self.cookies().get(cookie).cloned());
        let known = user.and_then(|user| Some((find(user.as_str())?.1, user)));
        let (identity, user) = known.ok_or((StatusCode::UNAUTHORIZED, "log in first\n".into()))?;
        let session = SessionKind::Ephemeral { after };
        let connected = self.engine.connect_as(user, identity, session).await;
        connected.map_err(refuse)
    }

    fn cookies(&self) -> MutexGuard<'_, HashMap<String, UserId>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn log_in(
    State(web): State<Arc<Web>>,
    Path(login): Path<String>,
    pass: String,
) -> Result<[(HeaderName, String); 1], Refusal> {
    if find(&login).is_none_or(|(own, _)| own != pass) {
        return Err((StatusCode::UNAUTHORIZED, "wrong login or password\n".into()));
    }
    let mut secret = [0; 16];
    let filled = OsEntropy.fill(&mut secret);
    filled.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let cookie = format!("{:032x}", u128::from_le_bytes(secret));
    web.cookies().insert(cookie.clone(), login.into());
    let cookie = format!("session={cookie}; Path=/; HttpOnly; SameSite=Strict");
    Ok([(header::SET_COOKIE, cookie)])
}

async fn send(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Path(to): Path<String>,
    body: String,
) -> Result<(), Refusal> {
    let connection = web.connect(&headers, None).await?;
    let sent = connection.call(message(to.into(), body)).await;
    sent.map(drop).map_err(refuse)
}

/// The next message with a `seq` above `after`; nothing when none comes in time. What all phones of the user were
/// given is not in the inbox any more: a service that shows a history keeps one.
async fn next(
    State(web): State<Arc<Web>>,
    headers: HeaderMap,
    Path(after): Path<u64>,
) -> Result<String, Refusal> {
    let mut connection = web.connect(&headers, Some(after)).await?;
    Ok(match timeout(WAIT, connection.next_message()).await {
        Ok(Ok(EvMessage { seq, message, .. })) => {
            // What the user sends elsewhere meanwhile comes along without a `seq`.
            let seq = seq.unwrap_or(after);
            format!("{seq} {}: {}\n", message.nick, message.body.as_str())
        }
        _ => String::new(),
    })
}

fn message(uid: UserId, body: String) -> SendMessage {
    SendMessage::new(uid, body)
}

/// Answers everybody who writes to it.
async fn echo(mut bot: Connection) {
    while let Ok(EvMessage { message: heard, .. }) = bot.next_message().await {
        let answer = message(
            heard.from.clone(),
            format!("you said: {}", heard.body.as_str()),
        );
        if let Err(failure) = bot.call(answer).await {
            eprintln!("no answer for {}: {failure}", heard.from);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage: Arc<dyn Storage> = match std::env::args().nth(1) {
        Some(path) => Arc::new(SqliteStorage::open(path)?),
        None => Arc::new(MemoryStorage::new()),
    };
    let engine = Engine::builder()
        .storage(storage)
        .authenticator(Arc::new(Users))
        .build()?;
    // Its session lasts: what comes while the program is not running waits for it.
    let bot = engine.connect_as(
        "echo".into(),
        Identity::new("Echo Bot"),
        SessionKind::Lasting,
    );
    tokio::spawn(echo(bot.await?));

    let web = Web {
        engine: engine.clone(),
        cookies: Mutex::default(),
    };
    let routes = Router::new()
        .route("/login/{login}", post(log_in))
        .route("/messages/{to}", post(send))
        .route("/inbox/{after}", get(next))
        .with_state(Arc::new(web));
    let http = TcpListener::bind("127.0.0.1:0").await?;
    println!("web on {}", http.local_addr()?);
    tokio::spawn(async { axum::serve(http, routes).await });

    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    println!("messenger on {}", tcp.local_addr()?);
    let server = Server::new(engine, Transport::default());
    let stop = async { _ = tokio::signal::ctrl_c().await };
    let drained = server.serve(tcp, stop).await;
    println!("stopped with {} connections cut", drained.cut);
    Ok(())
}
