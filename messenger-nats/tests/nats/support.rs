//! Nodes on a real NATS server.

use messenger_core::clock::Timestamp;
use messenger_core::notifier::{ConnectionId, Mail, Mailbox, Notice, Notifier};
use messenger_core::proto::{Message, UserId};
use messenger_core::storage::{SessionKey, UserNumber};
use messenger_nats::NatsNotifier;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long anything may take before a test fails.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn node(url: &str) -> Arc<NatsNotifier> {
    let node = NatsNotifier::connect(url.parse().unwrap()).await;
    Arc::new(node.unwrap())
}

/// Two nodes that hear each other.
pub(crate) async fn pair(url: &str) -> (Arc<NatsNotifier>, Arc<NatsNotifier>) {
    let (one, other) = (node(url).await, node(url).await);
    hears(&one, &other).await;
    hears(&other, &one).await;
    (one, other)
}

/// Waits until the one hears what the other tells.
pub(crate) async fn hears(one: &NatsNotifier, other: &NatsNotifier) {
    let (user, mailbox) = (UserId::from("somebody"), mailbox());
    let _subscription = one.subscribe(&user, mailbox.clone());
    let heard = async {
        loop {
            other.notify(&user, stored(1));
            let mail = timeout(Duration::from_millis(50), mail(&mailbox)).await;
            if mail.is_ok() {
                break;
            }
        }
    };
    timeout(SOON, heard).await.expect("they hear each other");
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(SOON, waiting).await;
    assert!(waited.is_ok(), "{what}");
}

/// What [`check`](Notifier::check) says, causes included; nothing when all is well.
pub(crate) fn trouble(node: &NatsNotifier) -> String {
    let Err(error) = node.check() else {
        return String::new();
    };
    let source = std::error::Error::source(&error).expect("a cause");
    format!("{error}: {source}")
}

/// Whoever is told, whatever the login.
const USER: UserNumber = UserNumber(1);

pub(crate) fn mailbox() -> Mailbox {
    let connection = ConnectionId::new(7, 1);
    Mailbox::new(connection, USER, SessionKey([0; 32]), 1 << 20)
}

pub(crate) fn stored(seq: u64) -> Notice {
    Notice::Inbox {
        to: USER,
        seq,
        accepted: Timestamp::default(),
        message: None,
    }
}

pub(crate) fn copy(body: String) -> Notice {
    Notice::Copy {
        from: USER,
        origin: ConnectionId::new(7, 2),
        message: Message::default().body(body).into(),
    }
}

pub(crate) async fn mail(mailbox: &Mailbox) -> Mail {
    poll_fn(|cx| mailbox.poll(cx)).await
}

/// Waits for the message at this place, which is told next.
pub(crate) async fn expect(mailbox: &Mailbox, expected: u64) {
    match timeout(SOON, mail(mailbox)).await {
        Ok(Mail::Inbox { seq, .. }) => assert_eq!(seq, expected),
        other => panic!("expected the message at {expected}, found {other:?}"),
    }
}
