//! The driver, by a transport of plain channels: it holds the rules that every transport shares.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test fails by panicking

use futures_util::FutureExt;
use messenger_core::authenticator::Identity;
use messenger_core::proto::{
    Auth, BadRequest, ContactList, Credentials, ErrorCode, Event, Failure, Inbound, Logout,
    MessageAccepted, Outbound, Register, Request, Response, SendMessage,
};
use messenger_core::storage::MemoryStorage;
use messenger_core::testing::{FaultyStorage, ManualClock};
use messenger_core::{Connection, Driver, DriverLimits, Ended, Engine, Policy, SessionKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn engine(storage: FaultyStorage) -> Engine {
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let storage = Arc::new(storage);
    let engine = Engine::builder().policy(policy).storage(storage);
    engine.build().unwrap()
}

fn quick() -> (Engine, FaultyStorage) {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()));
    (engine(storage.clone()), storage)
}

/// A client whose connection is two channels.
struct Client {
    requests: Option<UnboundedSender<Result<Inbound, BadRequest>>>,
    frames: UnboundedReceiver<Outbound>,
    /// How the driver ended.
    transport: JoinHandle<Ended>,
}

/// The whole transport.
async fn run(
    mut driver: Driver,
    mut requests: UnboundedReceiver<Result<Inbound, BadRequest>>,
    frames: UnboundedSender<Outbound>,
) -> Ended {
    loop {
        let is_wanted = driver.wants_request(0);
        tokio::select! {
            frame = driver.next_frame(0) => match frame {
                Ok(frame) => {
                    // Whoever has gone is given nothing, and nothing is delivered.
                    if frames.send(frame.outbound).is_ok() {
                        driver.delivered(frame.token);
                    }
                }
                Err(ended) => return ended,
            },
            request = requests.recv(), if is_wanted => match request {
                Some(request) => driver.request(request, 100),
                None => driver.finish(),
            },
        }
    }
}

impl Client {
    async fn connect(engine: &Engine) -> Self {
        let (requests, from_client) = unbounded_channel();
        let (to_client, frames) = unbounded_channel();
        let driver = Driver::new(engine.connect(), DriverLimits::default());
        let mut client = Self {
            requests: Some(requests),
            frames,
            transport: tokio::spawn(run(driver, from_client, to_client)),
        };
        let welcome = client.receive().await;
        assert!(matches!(welcome, Outbound::Event(Event::Welcome(_))));
        client
    }

    /// A client that is authenticated, with its session.
    async fn log_in(engine: &Engine, login: &str) -> (Self, Credentials) {
        let mut client = Self::connect(engine).await;
        client.send(Register::new(login, "secret", login));
        client.send(Auth::new(login, "secret"));
        client.receive().await;
        let Outbound::Response(Response::Auth(Ok(accepted))) = client.receive().await else {
            panic!("not authenticated");
        };
        let credentials = Credentials::new(accepted.uid, accepted.sid);
        (client, credentials)
    }

    fn send(&self, request: impl Into<Request>) {
        self.hand_over(Ok(Inbound::new(request)));
    }

    fn hand_over(&self, request: Result<Inbound, BadRequest>) {
        self.requests.as_ref().unwrap().send(request).unwrap();
    }

    async fn receive(&mut self) -> Outbound {
        timeout(SOON, self.frames.recv()).await.unwrap().unwrap()
    }

    /// What comes next, in short: an action's name and its status, or the body of a message.
    async fn next(&mut self) -> String {
        match self.receive().await {
            Outbound::Response(response) => {
                let status = response
                    .failure()
                    .map_or(0, |failure| failure.code.number());
                format!("{} {status}", response.action())
            }
            Outbound::Event(Event::Message(event)) => event.message.body.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The client sends no more; how its driver ended, once everything is answered.
    async fn end(mut self) -> Ended {
        self.requests = None;
        timeout(SOON, self.transport).await.unwrap().unwrap()
    }
}

fn message(to: &str, body: impl ToString) -> SendMessage {
    SendMessage::new(to, body.to_string())
}

async fn held(storage: &FaultyStorage, count: usize) {
    let all = async {
        while storage.held() < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all).await.unwrap();
}

/// The clock is read once for requests that are handed over together, and anew for those that come later.
#[tokio::test]
async fn a_message_has_the_time_at_which_it_was_handed_over() {
    let clock = ManualClock::default();
    let engine = Engine::builder().clock(Arc::new(clock.clone()));
    let engine = engine.build().unwrap();
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    let mut times = Vec::new();
    for hour in 0..3 {
        for body in 0..2 {
            ann.send(message("ann", body));
        }
        while times.len() < 2 * (hour + 1) {
            if let Outbound::Event(Event::Message(event)) = ann.receive().await {
                times.push(event.message.time);
            }
        }
        clock.advance(Duration::from_secs(3600));
    }
    let first = times[0];
    let expected = [0, 0, 1, 1, 2, 2].map(|hour| first + 3600 * hour);
    assert_eq!(times, expected);
}

#[tokio::test]
async fn replies_come_in_the_order_of_the_requests() {
    let (engine, storage) = quick();
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    storage.hold_appends();
    ann.send(message("ann", "1"));
    ann.send(message("ann", "2"));
    ann.send(ContactList::default());
    ann.hand_over(Err(BadRequest::NoAction));
    ann.send(message("ann", "3"));
    // What is no message waits for those before it, and those behind wait for it.
    held(&storage, 2).await;
    assert_eq!(storage.appends(), 2);
    storage.release(3);
    let mut actions = Vec::new();
    while actions.len() < 5 {
        let next = ann.next().await;
        if next.contains(' ') {
            actions.push(next);
        }
    }
    let expected = [
        "message 0",
        "message 0",
        "contactlist 0",
        "unknown 3",
        "message 0",
    ];
    assert_eq!(actions, expected);
    assert_eq!(ann.end().await, Ended::Finished);
}

#[tokio::test]
async fn an_unreadable_register_of_an_authenticated_client_is_the_last_that_is_answered() {
    let (engine, storage) = quick();
    let mut driver = Driver::new(engine.connect(), DriverLimits::default());
    driver.next_frame(0).await.unwrap();
    for request in [
        Register::new("ann", "secret", "Ann").into(),
        Request::from(Auth::new("ann", "secret")),
    ] {
        driver.request(Ok(Inbound::new(request)), 100);
        driver.next_frame(0).await.unwrap();
    }
    assert!(driver.next_frame(0).now_or_never().is_none(), "caught up");
    storage.hold_appends();
    driver.request(Ok(Inbound::new(message("nobody", "1"))), 100);
    let unreadable = Inbound::decode(r#"{"action":"register","data":{"login":5}}"#.into());
    driver.request(unreadable.unwrap(), 100);
    assert!(!driver.wants_request(0), "nothing is begun behind it");
    storage.release(1);
    for code in [ErrorCode::UserNotFound, ErrorCode::AlreadyRegistered] {
        let Outbound::Response(response) = driver.next_frame(0).await.unwrap().outbound else {
            panic!("no reply");
        };
        assert_eq!(response.failure().unwrap().code, code);
    }
    assert_eq!(driver.next_frame(0).await.unwrap_err(), Ended::Finished);
}

#[tokio::test]
async fn what_was_begun_is_answered_when_a_client_sends_no_more() {
    let (engine, storage) = quick();
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    storage.hold_appends();
    ann.send(message("ann", "1"));
    ann.send(ContactList::default());
    held(&storage, 1).await;
    ann.requests = None;
    storage.release(1);
    assert_eq!(ann.next().await, "message 0");
    assert_eq!(ann.next().await, "contactlist 0");
    assert_eq!(ann.end().await, Ended::Finished);
}

#[tokio::test]
async fn what_waited_comes_behind_the_reply_that_authenticated_and_before_any_other() {
    let (engine, _) = quick();
    let (bob, session) = Client::log_in(&engine, "bob").await;
    bob.end().await;
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    for body in ["one", "two"] {
        ann.send(message("bob", body));
        assert_eq!(ann.next().await, "message 0");
        assert_eq!(ann.next().await, body);
    }
    let mut bob = Client::connect(&engine).await;
    bob.hand_over(Ok(Inbound::new(ContactList::default()).credentials(session)));
    bob.hand_over(Err(BadRequest::NoAction));
    bob.send(message("nobody", "x"));
    for expected in ["contactlist 0", "one", "two", "unknown 3", "message 8"] {
        assert_eq!(bob.next().await, expected);
    }
}

#[tokio::test]
async fn what_was_delivered_is_not_given_again_and_what_was_not_is() {
    let (engine, _) = quick();
    let (bob, session) = Client::log_in(&engine, "bob").await;
    let Client {
        requests, frames, ..
    } = bob;
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    // Bob takes nothing any more, though his connection is there.
    drop(frames);
    ann.send(message("bob", "not delivered"));
    assert_eq!(ann.next().await, "message 0");
    ann.next().await;
    drop(requests);
    for is_there in [true, false] {
        let mut bob = Client::connect(&engine).await;
        bob.hand_over(Ok(
            Inbound::new(ContactList::default()).credentials(session.clone())
        ));
        assert_eq!(bob.next().await, "contactlist 0");
        if is_there {
            assert_eq!(bob.next().await, "not delivered");
        }
        bob.send(ContactList::default());
        assert_eq!(bob.next().await, "contactlist 0");
        bob.end().await;
    }
}

#[tokio::test]
async fn a_client_whose_session_ends_is_finished_and_one_that_logs_out_is_not() {
    let (engine, _) = quick();
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    let (phone, _) = Client::log_in(&engine, "phone").await;
    ann.send(Logout::default());
    ann.send(ContactList::default());
    assert_eq!(ann.next().await, "logout 0");
    assert_eq!(ann.next().await, "contactlist 6");
    ann.send(Auth::new("ann", "secret"));
    assert_eq!(ann.next().await, "auth 0");
    assert!(engine.delete_user(&"phone".into()).await.unwrap());
    let ended = timeout(SOON, phone.transport).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Finished);
}

#[tokio::test]
async fn a_client_that_registers_though_it_is_authenticated_is_answered_and_finished() {
    let (engine, _) = quick();
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    let (mut bob, _) = Client::log_in(&engine, "bob").await;
    ann.send(message("nobody", "before"));
    ann.send(Register::new("eve", "secret", "Eve"));
    ann.send(message("bob", "behind"));
    assert_eq!(ann.next().await, "message 8");
    assert_eq!(ann.next().await, "register 5");
    let ended = timeout(SOON, ann.transport).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Finished);
    // What came behind it was not carried out, and nobody was made.
    bob.send(message("bob", "first"));
    assert_eq!(bob.next().await, "message 0");
    assert_eq!(bob.next().await, "first");
    let eve = engine.connect().call(Auth::new("eve", "secret")).await;
    assert_eq!(eve.unwrap_err().code, ErrorCode::NeedRegister);
}

#[tokio::test]
async fn requests_and_events_wait_for_what_is_unsent() {
    let (engine, _) = quick();
    let mut limits = DriverLimits::default();
    (limits.unsent, limits.unsent_before_events) = (1000, 100);
    (limits.overlapping, limits.frame, limits.frame_before_auth) = (2, 7000, 70);
    let mut driver = Driver::new(engine.connect(), limits);
    assert_eq!(driver.frame_limit(), 70);
    let requests: [Request; 2] = [
        Register::new("ann", "secret", "Ann").into(),
        Auth::new("ann", "secret").into(),
    ];
    // The welcome and the replies come, however much is unsent.
    driver.next_frame(5000).await.unwrap();
    for request in requests {
        driver.request(Ok(Inbound::new(request)), 100);
        driver.next_frame(5000).await.unwrap();
    }
    assert_eq!(driver.frame_limit(), 7000);
    assert!(driver.wants_request(999) && !driver.wants_request(1000));
    // A request that comes before the device has caught up waits for that, and another is not wanted.
    driver.request(Ok(Inbound::new(message("ann", "own"))), 100);
    assert!(!driver.wants_request(0));
    assert!(driver.next_frame(100).now_or_never().is_none());
    let reply = driver.next_frame(99).await.unwrap();
    assert!(matches!(
        reply.outbound,
        Outbound::Response(Response::SendMessage(Ok(_)))
    ));
    assert!(driver.next_frame(100).now_or_never().is_none());
    let event = driver.next_frame(99).await.unwrap();
    assert!(event.token.is_some());
}

#[tokio::test]
async fn no_more_overlap_than_the_window_has_room_for() {
    let (engine, storage) = quick();
    let (ann, _) = Client::log_in(&engine, "ann").await;
    storage.hold_appends();
    let most = DriverLimits::default().overlapping;
    for number in 0..2 * most {
        ann.send(message("ann", number));
    }
    held(&storage, most).await;
    assert_eq!(storage.appends(), most);
    storage.release(2 * most);
    assert_eq!(ann.end().await, Ended::Finished);
    assert_eq!(storage.appends(), 2 * most, "all were carried out");
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_on_is_told_why_behind_what_it_asked_before() {
    let (engine, _) = quick();
    let mut driver = Driver::new(engine.connect(), DriverLimits::default());
    driver.next_frame(0).await.unwrap();
    driver.request(Err(BadRequest::NoAction), 2);
    driver.refuse(Failure::new(ErrorCode::InvalidData, "it breaks here"));
    assert!(!driver.wants_request(0));
    for text in ["the frame has no action", "it breaks here"] {
        let Outbound::Response(response) = driver.next_frame(0).await.unwrap().outbound else {
            panic!("no reply");
        };
        assert_eq!(response.failure().unwrap().text, text);
    }
    assert_eq!(driver.next_frame(0).await.unwrap_err(), Ended::Finished);
}

#[tokio::test]
async fn a_request_behind_the_end_of_its_session_is_told_so_and_then_the_connection_ends() {
    let (engine, _) = quick();
    let mut driver = Driver::new(engine.connect(), DriverLimits::default());
    driver.next_frame(0).await.unwrap();
    let requests: [Request; 2] = [
        Register::new("ann", "secret", "Ann").into(),
        Auth::new("ann", "secret").into(),
    ];
    for request in requests {
        driver.request(Ok(Inbound::new(request)), 100);
        driver.next_frame(0).await.unwrap();
    }
    assert!(driver.next_frame(0).now_or_never().is_none(), "caught up");
    assert!(engine.delete_user(&"ann".into()).await.unwrap());
    driver.request(Ok(Inbound::new(ContactList::new())), 100);
    let Outbound::Response(response) = driver.next_frame(0).await.unwrap().outbound else {
        panic!("no reply");
    };
    assert_eq!(response.failure().unwrap().code, ErrorCode::NeedAuth);
    assert_eq!(driver.next_frame(0).await.unwrap_err(), Ended::Finished);
}

/// A driver and what it has given first, without a transport.
async fn driven(connection: Connection) -> Driver {
    let mut driver = Driver::new(connection, DriverLimits::default());
    let welcome = driver.next_frame(0).await.unwrap().outbound;
    assert!(matches!(welcome, Outbound::Event(Event::Welcome(_))));
    driver
}

async fn ask(driver: &mut Driver, inbound: Inbound, length: usize) {
    timeout(SOON, async {
        while !driver.wants_request(0) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    driver.request(Ok(inbound), length);
}

/// The next answer to a message, past all events.
async fn answer(driver: &mut Driver) -> Result<MessageAccepted, Failure> {
    loop {
        let frame = timeout(SOON, driver.next_frame(0)).await.unwrap().unwrap();
        if let Outbound::Response(Response::SendMessage(answer)) = frame.outbound {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_message_has_the_time_at_which_it_came_also_behind_one_that_came_while_the_connection_caught_up()
 {
    let clock = ManualClock::default();
    let mut policy = Policy::default();
    policy.passwords.memory_kib = 8;
    policy.passwords.passes = 1;
    let engine = Engine::builder()
        .policy(policy)
        .clock(Arc::new(clock.clone()));
    let engine = engine.build().unwrap();
    let credentials = {
        let ann = engine.connect();
        ann.call(Register::new("ann", "secret", "Ann"))
            .await
            .unwrap();
        let session = ann.call(Auth::new("ann", "secret")).await.unwrap();
        // It waits for the session.
        ann.call(message("ann", "note")).await.unwrap();
        Credentials::new(session.uid, session.sid)
    };
    let mut driver = driven(engine.connect()).await;
    let resuming = Inbound::new(message("nobody", "x")).credentials(credentials);
    ask(&mut driver, resuming, 100).await;
    let frame = driver.next_frame(0).await.unwrap();
    assert!(matches!(frame.outbound, Outbound::Response(_)));
    ask(&mut driver, Inbound::new(message("ann", "early")), 100).await;
    let early = answer(&mut driver).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    ask(&mut driver, Inbound::new(message("ann", "late")), 100).await;
    let late = answer(&mut driver).await.unwrap();
    assert_eq!(late.time, early.time + 3600);
}

#[tokio::test]
async fn a_connection_that_was_authenticated_before_is_driven_as_one_that_has_done_it_itself() {
    let (engine, _) = quick();
    let session = SessionKind::Lasting;
    let ann = engine.connect_as("ann".into(), Identity::new("Ann"), session);
    let ann = ann.await.unwrap();
    ann.call(message("ann", "waits")).await.unwrap();
    let mut driver = driven(ann).await;
    let limits = DriverLimits::default();
    assert_eq!(driver.frame_limit(), limits.frame);
    let event = timeout(SOON, driver.next_frame(0)).await.unwrap().unwrap();
    let Outbound::Event(Event::Message(event)) = event.outbound else {
        panic!("nothing was asked");
    };
    assert_eq!(event.message.body.as_str(), "waits");
}

#[tokio::test]
async fn a_client_rests_for_the_length_of_the_message_there_was_no_room_for() {
    let mut policy = Policy::default();
    policy.limits.inbox.messages = 2;
    let engine = Engine::builder().policy(policy).build().unwrap();
    let session = SessionKind::Lasting;
    for login in ["ann", "bob"] {
        let identity = Identity::new(login);
        engine
            .connect_as(login.into(), identity, session)
            .await
            .unwrap();
    }
    let bob = engine.connect_as("bob".into(), Identity::new("bob"), session);
    let mut driver = driven(bob.await.unwrap()).await;
    for _ in 0..2 {
        ask(&mut driver, Inbound::new(message("ann", "fits")), 100_000).await;
        answer(&mut driver).await.unwrap();
        assert_eq!(driver.take_rest(), Duration::ZERO);
    }
    ask(
        &mut driver,
        Inbound::new(message("ann", "large")),
        1_000_000,
    )
    .await;
    ask(&mut driver, Inbound::new(message("ann", "small")), 100).await;
    let mut rest = Duration::ZERO;
    for _ in 0..2 {
        let failure = answer(&mut driver).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::InboxFull);
        rest += driver.take_rest();
    }
    assert_eq!(
        rest,
        Duration::from_millis(2 * 10 + 60) + Duration::from_nanos(60 * 100)
    );
    assert_eq!(driver.take_rest(), Duration::ZERO, "told once");
    // From now on one by one.
    ask(&mut driver, Inbound::new(message("ann", "again")), 100).await;
    assert!(!driver.wants_request(0));
}

#[tokio::test]
async fn messages_keep_their_order_however_their_recipient_is_written() {
    let (engine, storage) = quick();
    let (bob, credentials) = Client::log_in(&engine, "bob").await;
    bob.end().await;
    let (mut ann, _) = Client::log_in(&engine, "ann").await;
    storage.hold_appends();
    ann.send(message("ｂｏｂ", "first"));
    ann.send(message("bob", "second"));
    held(&storage, 1).await;
    storage.release(10);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ann.next().await);
    }
    assert_eq!(answers, ["message 0", "first", "message 0", "second"]);
    let bob = engine.connect();
    let resumed = Inbound::new(ContactList::default()).credentials(credentials);
    let _ = bob.handle(resumed).await;
    let mut driver = driven(bob).await;
    for body in ["first", "second"] {
        let frame = timeout(SOON, driver.next_frame(0)).await.unwrap().unwrap();
        let Outbound::Event(Event::Message(event)) = frame.outbound else {
            panic!("no message");
        };
        assert_eq!(event.message.body.as_str(), body);
    }
}
