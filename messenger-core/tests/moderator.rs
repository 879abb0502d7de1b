//! Messages that a moderator looks at before they are stored.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use messenger_core::authenticator::Identity;
use messenger_core::moderator::{Moderator, ModeratorError};
use messenger_core::proto::{
    Auth, Credentials, Event, Failure, Inbound, Message, Outbound, Register, Response, SendMessage,
    SessionId,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::FaultyStorage;
use messenger_core::{
    Connection, Driver, DriverLimits, Engine, Policy, SessionKind, Started, async_trait,
};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

/// How long anything may take: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// Refuses messages that begin with "bad", fails at those that begin with "down", needs time for those that begin with
/// "late", and waits to be opened for those that begin with "slow".
struct Gate {
    opened: Arc<Semaphore>,
}

#[async_trait]
impl Moderator for Gate {
    async fn review(&self, message: &Message) -> Result<(), ModeratorError> {
        let body = message.body.as_str();
        if body.starts_with("down") {
            return Err(ModeratorError::Unavailable("a secret of the house".into()));
        }
        if body.starts_with("late") {
            sleep(Duration::from_millis(70)).await;
        }
        if body.starts_with("slow") {
            self.opened.acquire().await.unwrap().forget();
        }
        match body.contains("bad") {
            true => Err(ModeratorError::Refused("Not in this house".into())),
            false => Ok(()),
        }
    }
}

struct House {
    engine: Engine,
    opened: Arc<Semaphore>,
    storage: FaultyStorage,
}

impl House {
    fn new() -> Self {
        Self::with_timeout(Policy::default().storage_timeout)
    }

    fn with_timeout(timeout: Duration) -> Self {
        let mut policy = Policy::default();
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        policy.storage_timeout = timeout;
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
        let opened = Arc::new(Semaphore::new(0));
        let moderator = Gate {
            opened: Arc::clone(&opened),
        };
        let engine = Engine::builder()
            .policy(policy)
            .storage(Arc::new(storage.clone()))
            .moderator(Arc::new(moderator));
        Self {
            engine: engine.build().unwrap(),
            opened,
            storage,
        }
    }

    /// Lets so many slow messages pass.
    fn open(&self, count: usize) {
        self.opened.add_permits(count);
    }

    async fn join(&self, login: &str) -> (Connection, SessionId) {
        let connection = self.engine.connect();
        let account = Register::new(login.to_owned(), "secret", login.to_owned());
        connection.call(account).await.unwrap();
        let accepted = connection.call(Auth::new(login.to_owned(), "secret")).await;
        (connection, accepted.unwrap().sid)
    }
}

async fn send(from: &Connection, body: &str) -> Result<(), Failure> {
    let sent = timeout(DEADLINE, from.call(SendMessage::new("bob", body))).await;
    sent.unwrap().map(drop)
}

async fn code(from: &Connection, body: &str) -> u32 {
    let sent = send(from, body).await;
    sent.map_or_else(|failure| failure.code.number(), |()| 0)
}

/// What there is to be taken without waiting.
fn take_all(connection: &Connection) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut bodies = Vec::new();
    while let Poll::Ready(Ok(delivery)) = connection.poll_event(&mut cx) {
        let Event::Message(event) = delivery.event.into() else {
            panic!("an event that is no message");
        };
        bodies.push(event.message.body.as_str().to_owned());
    }
    bodies
}

/// Lets everything go on that can.
async fn settle() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_message_that_is_refused_is_stored_for_nobody_and_leaves_its_mid() {
    let house = House::new();
    let (ann, _) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    let other = house.engine.connect();
    other.call(Auth::new("ann", "secret")).await.unwrap();

    house.open(1);
    for body in ["bad", "slow and bad"] {
        let refused = ann
            .call(SendMessage::new("bob", body).mid("m"))
            .await
            .unwrap_err();
        assert_eq!(refused.code.number(), 3, "{body}");
        assert_eq!(refused.text, "Not in this house");
    }
    assert!(take_all(&bob).is_empty());
    assert!(take_all(&other).is_empty(), "no copy of what was not sent");

    let sent = ann.call(SendMessage::new("bob", "good").mid("m")).await;
    sent.unwrap();
    assert_eq!(take_all(&bob), ["good"]);
    assert_eq!(take_all(&other), ["good"]);
}

#[tokio::test]
async fn a_message_that_waits_for_its_review_is_passed_by_none_behind_it() {
    let house = House::new();
    let (ann, _) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    let message = |body: &str| Inbound::new(SendMessage::new("bob", body));

    let Ok(Started::Pending(mut slow)) = ann.try_start(message("slow")) else {
        panic!("it does not wait");
    };
    assert!(ann.try_start(message("quick")).is_err(), "given back");
    let polled = poll_fn(|cx| Poll::Ready(slow.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    assert!(ann.try_start(message("quick")).is_err());

    house.open(1);
    let reply = timeout(DEADLINE, slow).await.unwrap();
    assert!(reply.response.failure().is_none() && reply.follow.is_some());
    assert!(matches!(
        ann.try_start(message("quick")),
        Ok(Started::Done(_))
    ));
    assert_eq!(take_all(&bob), ["slow", "quick"]);
}

#[tokio::test]
async fn a_message_that_nobody_waits_for_any_more_keeps_none_back() {
    let house = House::new();
    let (ann, _) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    let slow = Inbound::new(SendMessage::new("bob", "slow"));
    drop(ann.try_start(slow).unwrap());
    let quick = Inbound::new(SendMessage::new("bob", "quick"));
    assert!(matches!(ann.try_start(quick), Ok(Started::Done(_))));
    assert_eq!(take_all(&bob), ["quick"]);
}

/// What the driver answers to these messages for bob, sent as fast as it takes them.
async fn answers(driver: &mut Driver, bodies: &[&str]) -> Vec<String> {
    let mut sent = bodies.iter();
    let mut answers = Vec::new();
    // An answer to each, and a copy of each but those that are refused.
    let refused = bodies.iter().filter(|body| body.contains("bad")).count();
    while answers.len() < 2 * bodies.len() - refused {
        while driver.wants_request(0)
            && let Some(body) = sent.next()
        {
            let message = SendMessage::new("bob", *body);
            driver.request(Ok(Inbound::new(message)), 100);
        }
        match driver.next_frame(0).await.unwrap().outbound {
            Outbound::Response(Response::SendMessage(result)) => {
                let code = result.map_or_else(|failure| failure.code.number(), |_| 0);
                answers.push(code.to_string());
            }
            Outbound::Event(Event::Message(event)) => {
                answers.push(event.message.body.as_str().to_owned());
            }
            Outbound::Event(Event::Welcome(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    answers
}

#[tokio::test]
async fn what_a_client_sends_at_once_is_answered_and_given_in_its_order() {
    let bodies = ["1", "slow 2", "3", "bad 4", "slow 5", "slow and bad 6", "7"];
    for store_waits in [false, true] {
        let house = House::new();
        let (bob, _) = house.join("bob").await;
        let (ann, _) = house.join("ann").await;
        let mut driver = Driver::new(ann, DriverLimits::default());
        if store_waits {
            house.storage.hold_appends();
        }
        let opened = async {
            // Whatever could pass a message that waits has the time to.
            for _ in 0..bodies.len() {
                settle().await;
                house.open(1);
                settle().await;
                house.storage.release(1);
            }
        };
        let both = async { tokio::join!(answers(&mut driver, &bodies), opened) };
        let (answers, ()) = timeout(DEADLINE, both).await.unwrap();
        let expected = [
            "0", "1", "0", "slow 2", "0", "3", "3", "0", "slow 5", "3", "0", "7",
        ];
        assert_eq!(answers, expected);
        assert_eq!(take_all(&bob), ["1", "slow 2", "3", "slow 5", "7"]);
    }
}

#[tokio::test]
async fn a_review_has_the_time_of_a_request() {
    let house = House::with_timeout(Duration::from_millis(100));
    let (ann, _) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    let failure = send(&ann, "slow").await.unwrap_err();
    assert_eq!(failure.code.number(), 22);
    assert!(!failure.text.contains("not known"), "{failure:?}");
    assert_eq!(code(&ann, "quick").await, 0);
    assert_eq!(take_all(&bob), ["quick"]);

    // The review is in time, and to look for the recipient would be; both together are not.
    house.storage.set_delay(Duration::from_millis(70));
    let late = SendMessage::new("nobody", "late");
    let failure = timeout(DEADLINE, ann.call(late)).await.unwrap();
    assert_eq!(failure.unwrap_err().code.number(), 22);
}

#[tokio::test]
async fn what_a_moderator_that_fails_says_is_not_told_to_clients() {
    let house = House::new();
    let (ann, _) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    let failure = send(&ann, "down").await.unwrap_err();
    assert_eq!(failure.code.number(), 22);
    assert!(!failure.text.contains("secret"), "{failure:?}");
    assert!(take_all(&bob).is_empty());
}

#[tokio::test]
async fn every_way_to_send_goes_by_the_moderator() {
    let house = House::new();
    let (ann, sid) = house.join("ann").await;
    let (bob, _) = house.join("bob").await;
    drop(ann);
    // The first request of a connection that resumes a session.
    let resumed = house.engine.connect();
    let credentials = Credentials::new("ann", sid);
    let inbound = Inbound::new(SendMessage::new("bob", "bad")).credentials(credentials);
    let reply = resumed.handle(inbound).await;
    assert_eq!(reply.response.failure().unwrap().code.number(), 3);
    // An embedder's own.
    for session in [SessionKind::Lasting, SessionKind::Ephemeral { after: None }] {
        let bot = house
            .engine
            .connect_as("bot".into(), Identity::new("Bot"), session)
            .await
            .unwrap();
        assert_eq!(code(&bot, "bad").await, 3);
    }
    // Of a user to themselves.
    assert_eq!(code(&bob, "bad").await, 3);
    assert!(take_all(&bob).is_empty());
}
