//! What every transport must do: whatever carries frames between a client and a [`Driver`](crate::Driver).

use crate::notifier::{LocalNotifier, Mailbox, Notice, Notifier, Subscription};
use crate::{Connection, Engine, Policy, async_trait};
use messenger_proto::{Auth, ErrorCode, EvMessage, Event, Outbound, Register, SendMessage, UserId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);

/// The status of what cannot be read.
const INVALID: u32 = ErrorCode::InvalidData.number();

/// The client's end of a transport. Dropping it ends the connection, without a farewell.
#[async_trait]
pub trait Client: Send {
    /// Sends a frame, which may be no JSON. A connection that the other end has closed drops it.
    ///
    /// The suite sends up to 32 frames and 32 KiB before it receives what it is sent meanwhile.
    async fn send(&mut self, frame: String);

    /// The next frame; `None` once the transport has closed the connection.
    async fn receive(&mut self) -> Option<String>;
}

/// Runs every case, each on an engine of its own; `connect` connects a client to it. Drivers have the default
/// [limits](crate::DriverLimits).
///
/// # Panics
/// A case fails.
///
/// # Examples
/// The [crate's page](crate) has a transport of channels, and this suite for it.
pub async fn suite<C: Client + 'static>(connect: impl AsyncFn(&Engine) -> C) {
    macro_rules! run {
        ($($case:ident,)*) => {
            $({
                let world = World::new();
                let one = Peer(Box::new(connect(&world.engine).await));
                let other = Peer(Box::new(connect(&world.engine).await));
                $case(&world, one, other).await;
            })*
        };
    }
    run![
        answers_in_the_order_of_the_requests,
        answers_what_is_no_request_and_goes_on,
        answers_what_is_no_json_and_closes,
        answers_a_frame_that_is_too_long_and_closes,
        takes_longer_frames_once_the_client_is_authenticated,
        gives_what_waited_and_what_comes_in_order,
        keeps_nothing_from_a_client_that_was_slow,
        tells_what_is_delivered,
        takes_nothing_for_delivered_that_was_not_sent,
        closes_when_the_session_has_ended,
        lets_go_of_a_client_that_has_gone,
    ];
}

/// An engine, and how many subscriptions its connections have.
struct World {
    engine: Engine,
    subscriptions: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let mut policy = Policy {
            rates: None,
            ..Policy::default()
        };
        // Passwords are not what is tested.
        policy.passwords.memory_kib = 8;
        policy.passwords.passes = 1;
        let subscriptions = Arc::new(AtomicUsize::new(0));
        let notifier = Counting {
            local: LocalNotifier::new(),
            subscriptions: Arc::clone(&subscriptions),
        };
        let engine = Engine::builder()
            .policy(policy)
            .notifier(Arc::new(notifier));
        Self {
            engine: engine.build().unwrap(),
            subscriptions,
        }
    }

    /// A user's connection that needs no transport.
    async fn log_in(&self, login: &'static str) -> Connection {
        let connection = self.engine.connect();
        let account = Register::new(login, "secret", login);
        connection.call(account).await.unwrap();
        connection.call(Auth::new(login, "secret")).await.unwrap();
        connection
    }

    /// Up to which message the user has been given the inbox.
    async fn delivered_up_to(&self, login: &str) -> u64 {
        let sessions = self.engine.sessions(&UserId::from(login)).await.unwrap();
        let sessions = sessions.unwrap_or_default().into_iter();
        let delivered = sessions.map(|(_, record)| record.delivered_up_to);
        delivered.max().unwrap_or(0)
    }
}

/// Counts the subscriptions that are held.
struct Counting {
    local: LocalNotifier,
    subscriptions: Arc<AtomicUsize>,
}

struct Counted {
    _local: Subscription,
    subscriptions: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.subscriptions.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Notifier for Counting {
    fn subscribe(&self, user: &UserId, mailbox: Mailbox) -> Subscription {
        self.subscriptions.fetch_add(1, Ordering::SeqCst);
        Subscription::new(Counted {
            _local: self.local.subscribe(user, mailbox),
            subscriptions: Arc::clone(&self.subscriptions),
        })
    }

    fn notify(&self, user: &UserId, notice: Notice) {
        self.local.notify(user, notice);
    }
}

/// A client, and what it says and hears.
struct Peer(Box<dyn Client>);

impl Peer {
    async fn send(&mut self, frame: impl Into<String>) {
        let sent = timeout(SOON, self.0.send(frame.into())).await;
        sent.expect("a short frame is taken in time");
    }

    async fn request(&mut self, action: &str, data: &str) {
        let frame = format!(r#"{{"action":"{action}","data":{{{data}}}}}"#);
        self.send(frame).await;
    }

    async fn write(&mut self, to: &str, body: &str) {
        let data = format!(r#""uid":"{to}","body":"{body}""#);
        self.request("message", &data).await;
    }

    async fn next(&mut self) -> Option<Outbound> {
        let frame = timeout(SOON, self.0.receive()).await;
        let frame = frame.expect("a frame, or the end, in time")?;
        Some(Outbound::decode_slice(frame.as_bytes()).expect("a frame as the engine made it"))
    }

    async fn receive(&mut self) -> Outbound {
        self.next().await.expect("a frame, and not yet the end")
    }

    async fn welcome(&mut self) {
        let welcome = self.receive().await;
        let is_welcome = matches!(welcome, Outbound::Event(Event::Welcome(_)));
        assert!(is_welcome, "the welcome comes first: {welcome:?}");
    }

    /// What comes next is an answer: its action, and its status.
    async fn answer(&mut self) -> (String, u32) {
        match self.receive().await {
            Outbound::Response(response) => {
                let failure = response.failure();
                let status = failure.map_or(0, |failure| failure.code.number());
                (response.action().to_owned(), status)
            }
            other => panic!("expected an answer, found {other:?}"),
        }
    }

    /// What comes next is a message.
    async fn message(&mut self) -> EvMessage {
        match self.receive().await {
            Outbound::Event(Event::Message(event)) => event,
            other => panic!("expected a message, found {other:?}"),
        }
    }

    async fn is_given(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            assert_eq!(self.message().await.seq, Some(seq));
        }
    }

    /// The connection is closed, without another frame.
    async fn is_closed(&mut self) {
        let end = self.next().await;
        assert!(end.is_none(), "expected the end, found {end:?}");
    }

    /// Is welcomed, and authenticates as a user who is made for it if need be.
    async fn log_in(&mut self, login: &str) {
        self.welcome().await;
        let data = format!(r#""login":"{login}","pass":"secret","nick":"{login}""#);
        self.request("register", &data).await;
        self.answer().await;
        self.request("auth", &data).await;
        assert_eq!(self.answer().await, ("auth".to_owned(), 0));
    }
}

/// Until this is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.expect(what);
}

async fn answers_in_the_order_of_the_requests(_: &World, mut ann: Peer, _: Peer) {
    ann.log_in("ann").await;
    for number in 0..16 {
        ann.write("nobody", &number.to_string()).await;
        ann.request("contactlist", "").await;
    }
    for _ in 0..16 {
        assert_eq!(ann.answer().await, ("message".to_owned(), 8));
        assert_eq!(ann.answer().await, ("contactlist".to_owned(), 0));
    }
}

async fn answers_what_is_no_request_and_goes_on(_: &World, mut ann: Peer, _: Peer) {
    ann.log_in("ann").await;
    ann.request("dance", "").await;
    assert_eq!(ann.answer().await, ("dance".to_owned(), INVALID));
    ann.send(r#"{"data":{}}"#).await;
    assert_eq!(ann.answer().await, ("unknown".to_owned(), INVALID));
    ann.request("contactlist", "").await;
    assert_eq!(ann.answer().await, ("contactlist".to_owned(), 0));
}

async fn answers_what_is_no_json_and_closes(_: &World, mut ann: Peer, _: Peer) {
    ann.log_in("ann").await;
    ann.request("contactlist", "").await;
    // It ends nothing that began, so a stream of bytes is broken by it as well.
    ann.send("}").await;
    assert_eq!(ann.answer().await, ("contactlist".to_owned(), 0));
    assert_eq!(ann.answer().await, ("unknown".to_owned(), INVALID));
    ann.is_closed().await;
}

async fn answers_a_frame_that_is_too_long_and_closes(_: &World, mut stranger: Peer, _: Peer) {
    stranger.welcome().await;
    stranger.write("ann", &"x".repeat(20_000)).await;
    assert_eq!(stranger.answer().await, ("unknown".to_owned(), INVALID));
    stranger.is_closed().await;
}

async fn takes_longer_frames_once_the_client_is_authenticated(_: &World, mut ann: Peer, _: Peer) {
    ann.log_in("ann").await;
    ann.write("nobody", &"x".repeat(20_000)).await;
    assert_eq!(ann.answer().await, ("message".to_owned(), 8));
}

async fn gives_what_waited_and_what_comes_in_order(world: &World, mut bob: Peer, _: Peer) {
    drop(world.log_in("bob").await);
    let ann = world.log_in("ann").await;
    write(&ann, "bob", 300, 2_000).await;
    bob.log_in("bob").await;
    bob.is_given(1..=300).await;
    write(&ann, "bob", 30, 0).await;
    bob.is_given(301..=330).await;
}

async fn keeps_nothing_from_a_client_that_was_slow(world: &World, mut bob: Peer, _: Peer) {
    bob.log_in("bob").await;
    let ann = world.log_in("ann").await;
    write(&ann, "bob", 600, 16_000).await;
    bob.is_given(1..=600).await;
}

async fn tells_what_is_delivered(world: &World, mut bob: Peer, _: Peer) {
    bob.log_in("bob").await;
    let ann = world.log_in("ann").await;
    write(&ann, "bob", 20, 0).await;
    bob.is_given(1..=20).await;
    let is_told = async || world.delivered_up_to("bob").await == 20;
    until("what the client was given counts as delivered", is_told).await;
}

async fn takes_nothing_for_delivered_that_was_not_sent(
    world: &World,
    mut bob: Peer,
    mut again: Peer,
) {
    bob.log_in("bob").await;
    let ann = world.log_in("ann").await;
    // More than the buffers of sockets take.
    write(&ann, "bob", 1_500, 16_000).await;
    bob.is_given(1..=1).await;
    // Whoever takes what is queued for delivered has the time to.
    let mut before = 0;
    let stands_still = async || {
        let now = world.delivered_up_to("bob").await;
        sleep(Duration::from_millis(100)).await;
        now == std::mem::replace(&mut before, now)
    };
    until("a client that takes nothing is sent nothing", stands_still).await;
    drop(bob);
    again.log_in("bob").await;
    let seq = again.message().await.seq;
    let seq = seq.expect("a message from the inbox");
    again.is_given(seq + 1..=1_500).await;
}

async fn closes_when_the_session_has_ended(world: &World, mut bob: Peer, _: Peer) {
    bob.log_in("bob").await;
    let ended = world.engine.end_sessions(&"bob".into()).await;
    ended.unwrap();
    bob.is_closed().await;
}

async fn lets_go_of_a_client_that_has_gone(world: &World, mut bob: Peer, _: Peer) {
    bob.log_in("bob").await;
    let subscriptions = || world.subscriptions.load(Ordering::SeqCst);
    assert_ne!(subscriptions(), 0);
    drop(bob);
    until("the connection is dropped", async || subscriptions() == 0).await;
}

/// So many messages, each with a text of so many bytes.
async fn write(from: &Connection, to: &'static str, messages: usize, bytes: usize) {
    let text = "x".repeat(bytes.max(1));
    for _ in 0..messages {
        let message = SendMessage::new(to, text.clone());
        from.call(message).await.unwrap();
    }
}
