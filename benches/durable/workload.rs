//! Pairs of a sender and a recipient that is online, on an engine without sockets.

use messenger_core::policy::PasswordPolicy;
use messenger_core::proto::{Auth, ErrorCode, Register, SendMessage};
use messenger_core::{Builder, Engine, Policy, Session};
use std::time::{Duration, Instant};

/// Passwords as cheap as they get.
const CHEAP: PasswordPolicy = PasswordPolicy {
    memory_kib: 8,
    passes: 1,
    at_once: 2,
    waiting: 100_000,
};

pub fn engine(builder: Builder) -> Engine {
    let policy = Policy {
        passwords: CHEAP,
        ..Policy::default()
    };
    builder.policy(policy).build().unwrap()
}

/// Somebody who has logged in, and is registered if need be.
pub async fn join(engine: &Engine, login: &str) -> Session {
    let session = engine.connect();
    let account = Register {
        login: login.into(),
        pass: "secret".into(),
        nick: login.into(),
    };
    let _ = session.call(account).await;
    let auth = Auth {
        login: login.into(),
        pass: "secret".into(),
        ack: false,
    };
    session.call(auth).await.unwrap();
    session
}

/// Messages accepted a second.
pub async fn rate(engine: &Engine, senders: usize, body: usize, time: Duration) -> f64 {
    let mut pairs = Vec::new();
    for number in 0..senders {
        let recipient = format!("recipient{number}");
        let session = join(engine, &recipient).await;
        let reading = tokio::spawn(read(session));
        let sender = join(engine, &format!("sender{number}")).await;
        let request = SendMessage {
            uid: recipient.into(),
            body: "x".repeat(body).into(),
            ..SendMessage::default()
        };
        pairs.push((sender, request, reading));
    }
    let started = Instant::now();
    let end = started + time;
    let (mut sending, mut reading) = (Vec::new(), Vec::new());
    for (sender, request, reader) in pairs {
        sending.push(tokio::spawn(send(sender, request, end)));
        reading.push(reader);
    }
    let mut sent = 0;
    for sender in sending {
        sent += sender.await.unwrap();
    }
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    for reader in reading {
        reader.abort();
    }
    rate
}

async fn send(session: Session, request: SendMessage, end: Instant) -> u64 {
    let mut sent = 0;
    while Instant::now() < end {
        match session.call(request.clone()).await {
            Ok(_) => sent += 1,
            // In memory a sender can be quicker than its recipient.
            Err(failure) if failure.code == ErrorCode::InboxFull => tokio::task::yield_now().await,
            Err(failure) => panic!("{failure}"),
        }
    }
    sent
}

async fn read(mut session: Session) {
    while session.next_event().await.is_some() {}
}
