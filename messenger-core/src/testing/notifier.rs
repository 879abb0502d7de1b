//! What every [`Notifier`] must do.

use crate::clock::Timestamp;
use crate::notifier::{ConnectionId, Mail, Mailbox, Notice, Notifier, Subscription};
use crate::storage::{SessionKey, UserNumber};
use messenger_proto::{Message, SharedMessage, UserId};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

/// How long a notice may take.
const SOON: Duration = Duration::from_secs(5);

/// Runs every case on notifiers made by `make`. For a notifier across nodes, `make` gives two that
/// reach each other; for one within a process, the same one twice.
///
/// # Panics
/// A case fails.
pub async fn suite<N: Notifier + ?Sized>(make: impl AsyncFn() -> (Arc<N>, Arc<N>)) {
    let (one, other) = make().await;
    reaches_every_mailbox_of_the_user_in_order(&*one, &*other).await;
    let (one, other) = make().await;
    reaches_no_other_user_and_nobody_after_the_end(&*one, &*other).await;
    let (one, other) = make().await;
    a_copy_does_not_return_to_its_origin(&*one, &*other).await;
    let (one, other) = make().await;
    the_end_of_a_session_reaches_its_connections(&*one, &*other).await;
    let (one, other) = make().await;
    the_end_of_a_user_reaches_all_connections(&*one, &*other).await;
    let (one, other) = make().await;
    a_look_reaches_every_mailbox_of_the_user(&*one, &*other).await;
    let (one, other) = make().await;
    no_subscription_is_the_only_one_beside_another(&*one, &*other);
}

/// Whoever has the id in question.
const USER: UserNumber = UserNumber(1);

fn connection(number: u64) -> ConnectionId {
    ConnectionId { engine: 7, number }
}

fn mailbox(number: u64) -> Mailbox {
    Mailbox::new(connection(number), USER, key(number), 1 << 20)
}

fn key(number: u64) -> SessionKey {
    let mut key = [0; 32];
    for (byte, of_number) in key.iter_mut().zip(number.to_le_bytes()) {
        *byte = of_number;
    }
    SessionKey(key)
}

fn message(body: &str) -> SharedMessage {
    SharedMessage::from(Message::default().body(body))
}

fn stored(seq: u64) -> Notice {
    Notice::Inbox {
        to: USER,
        seq,
        accepted: Timestamp::default(),
        message: Some(message("hello")),
    }
}

/// The next mail that is no look into the store, which a notifier may always ask for.
async fn mail(mailbox: &Mailbox) -> Mail {
    let next = async {
        loop {
            match poll_fn(|cx| mailbox.poll(cx)).await {
                Mail::Resync => {}
                mail => return mail,
            }
        }
    };
    timeout(SOON, next).await.expect("a notice in time")
}

async fn expect_seq(mailbox: &Mailbox, expected: u64) {
    match mail(mailbox).await {
        Mail::Inbox { seq, message, .. } => {
            assert_eq!(seq, expected);
            let body = message.map(|message| message.body.as_str().to_owned());
            assert!(body.is_none_or(|body| body == "hello"));
        }
        other => panic!("expected the message at {expected}, found {other:?}"),
    }
}

async fn reaches_every_mailbox_of_the_user_in_order<N: Notifier + ?Sized>(one: &N, other: &N) {
    let ann = UserId::from("ann");
    let mailboxes = [mailbox(1), mailbox(2), mailbox(3)];
    let [first, second, third] = mailboxes.clone();
    let _subscriptions = [
        one.subscribe(&ann, first),
        one.subscribe(&ann, second),
        other.subscribe(&ann, third),
    ];
    for seq in 1..=100 {
        one.notify(&ann, stored(seq));
    }
    for mailbox in &mailboxes {
        for seq in 1..=100 {
            expect_seq(mailbox, seq).await;
        }
    }
}

async fn reaches_no_other_user_and_nobody_after_the_end<N: Notifier + ?Sized>(one: &N, other: &N) {
    let (ann, bob) = (UserId::from("ann"), UserId::from("bob"));
    let [anns, left, bobs] = [mailbox(1), mailbox(2), mailbox(3)];
    let _ann = other.subscribe(&ann, anns.clone());
    let _bob = other.subscribe(&bob, bobs.clone());
    drop(other.subscribe(&bob, left.clone()));
    one.notify(&ann, stored(1));
    one.notify(&bob, stored(2));
    expect_seq(&anns, 1).await;
    expect_seq(&bobs, 2).await;
    let nothing = poll_fn(|cx| left.poll(cx));
    let nothing = timeout(Duration::from_millis(10), nothing).await;
    assert!(nothing.is_err(), "told a mailbox whose subscription ended");
}

async fn a_copy_does_not_return_to_its_origin<N: Notifier + ?Sized>(one: &N, other: &N) {
    let ann = UserId::from("ann");
    let [sending, watching] = [mailbox(1), mailbox(2)];
    let _sending = one.subscribe(&ann, sending.clone());
    let _watching = other.subscribe(&ann, watching.clone());
    one.notify(
        &ann,
        Notice::Copy {
            from: USER,
            origin: connection(1),
            message: message("mine"),
        },
    );
    one.notify(&ann, stored(1));
    match mail(&watching).await {
        Mail::Copy(message) => assert_eq!(message.body.as_str(), "mine"),
        other => panic!("expected the copy, found {other:?}"),
    }
    expect_seq(&watching, 1).await;
    expect_seq(&sending, 1).await;
}

async fn the_end_of_a_session_reaches_its_connections<N: Notifier + ?Sized>(one: &N, other: &N) {
    let ann = UserId::from("ann");
    let [going, staying] = [mailbox(1), mailbox(2)];
    let _going = other.subscribe(&ann, going.clone());
    let _staying = other.subscribe(&ann, staying.clone());
    one.notify(&ann, Notice::SessionEnded(key(1)));
    one.notify(&ann, stored(1));
    expect_seq(&going, 1).await;
    expect_seq(&staying, 1).await;
    assert!(going.has_ended());
    assert!(!staying.has_ended());
}

async fn the_end_of_a_user_reaches_all_connections<N: Notifier + ?Sized>(one: &N, other: &N) {
    let (ann, bob) = (UserId::from("ann"), UserId::from("bob"));
    let [first, second, bobs] = [mailbox(1), mailbox(2), mailbox(3)];
    let _subscriptions = [
        one.subscribe(&ann, first.clone()),
        other.subscribe(&ann, second.clone()),
        other.subscribe(&bob, bobs.clone()),
    ];
    one.notify(&ann, Notice::UserDeleted);
    one.notify(&bob, stored(1));
    one.notify(&ann, stored(1));
    for mailbox in [&first, &second, &bobs] {
        expect_seq(mailbox, 1).await;
    }
    assert!(first.has_ended() && second.has_ended());
    assert!(!bobs.has_ended());
}

async fn a_look_reaches_every_mailbox_of_the_user<N: Notifier + ?Sized>(one: &N, other: &N) {
    let ann = UserId::from("ann");
    let mailboxes = [mailbox(1), mailbox(2)];
    let [first, second] = mailboxes.clone();
    let _subscriptions = [one.subscribe(&ann, first), other.subscribe(&ann, second)];
    // A notifier may ask for one of its own when it begins.
    one.notify(&ann, stored(1));
    for mailbox in &mailboxes {
        expect_seq(mailbox, 1).await;
        while poll_fn(|cx| Poll::Ready(mailbox.poll(cx).is_ready())).await {}
    }
    one.notify(&ann, Notice::Resync);
    for mailbox in &mailboxes {
        let look = timeout(SOON, poll_fn(|cx| mailbox.poll(cx))).await;
        assert!(matches!(look, Ok(Mail::Resync)), "{look:?}");
    }
}

fn no_subscription_is_the_only_one_beside_another<N: Notifier + ?Sized>(one: &N, other: &N) {
    let ann = UserId::from("ann");
    let first = one.subscribe(&ann, mailbox(1));
    let alone = first.is_only();
    let second = other.subscribe(&ann, mailbox(2));
    let third = one.subscribe(&ann, mailbox(3));
    assert!(
        ![&first, &second, &third]
            .map(Subscription::is_only)
            .contains(&true)
    );
    drop(second);
    assert!(!first.is_only());
    drop(third);
    assert_eq!(first.is_only(), alone, "the others are gone");
    drop(first);
    assert_eq!(other.subscribe(&ann, mailbox(4)).is_only(), alone);
}
