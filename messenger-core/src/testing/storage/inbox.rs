//! Inboxes.

use super::mids::with_mid;
use super::{ALL, NO_LIMIT, advance, append, at, bodies, create, message_to, open};
use crate::policy::InboxLimits;
use crate::storage::{
    AppendError, Appended, Expiry, NewMessage, PageLimits, Storage, StorageError,
};
use futures_util::future::join_all;
use messenger_proto::{Attachment, Message, UserId};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

/// How long a store may take.
const SOON: Duration = Duration::from_secs(10);

fn numbered(count: u64) -> Vec<(u64, String)> {
    (1..=count).map(|seq| (seq, seq.to_string())).collect()
}

async fn fill(storage: &Arc<dyn Storage>, user: &UserId, count: u64) {
    for seq in 1..=count {
        let appended = append(storage, user, &seq.to_string(), NO_LIMIT).await;
        assert_eq!(appended.unwrap(), seq);
    }
}

async fn purge_all(storage: &Arc<dyn Storage>, expiry: Expiry) -> Result<(), StorageError> {
    while storage.purge_expired(expiry).await?.is_zero() {}
    Ok(())
}

pub(super) async fn numbers_without_a_gap(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    assert_eq!(storage.newest(&ann).await.unwrap(), 0);
    fill(storage, &ann, 3).await;
    fill(storage, &bob, 1).await;
    assert_eq!(storage.newest(&ann).await.unwrap(), 3);
    assert_eq!(bodies(storage, &ann, 0).await, numbered(3));
    let unknown = append(storage, &"nobody".into(), "x", NO_LIMIT).await;
    assert!(matches!(unknown, Err(AppendError::NoSuchUser)));
}

/// Reads as a connection does, which goes on from its cursor and never looks back.
async fn reads(storage: &Arc<dyn Storage>, user: &UserId, count: u64) {
    let reading = async {
        let mut delivered_up_to = 0;
        while delivered_up_to < count {
            for (seq, _) in storage.inbox(user, delivered_up_to, ALL).await.unwrap() {
                assert_eq!(
                    seq,
                    delivered_up_to + 1,
                    "became visible before the one before it"
                );
                delivered_up_to = seq;
            }
            tokio::task::yield_now().await;
        }
    };
    let all = timeout(SOON, reading).await;
    all.expect("all of them become visible");
}

pub(super) async fn racing_appends_leave_no_gap(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let senders = (0..8).map(|sender| {
        let (storage, ann) = (Arc::clone(storage), ann.clone());
        tokio::spawn(async move {
            let mut numbers = Vec::new();
            for number in 0..50 {
                let body = format!("{sender} {number}");
                numbers.push(append(&storage, &ann, &body, NO_LIMIT).await.unwrap());
            }
            assert!(
                numbers.is_sorted(),
                "a sender's own messages keep their order"
            );
            numbers
        })
    });
    let senders = senders.collect::<Vec<_>>();
    let (numbers, ()) = tokio::join!(join_all(senders), reads(storage, &ann, 400));
    let numbers = numbers.into_iter();
    let numbers: BTreeSet<u64> = numbers.flat_map(Result::unwrap).collect();
    assert_eq!(numbers, (1..=400).collect());
    let stored: Vec<_> = bodies(storage, &ann, 0).await;
    assert_eq!(stored.len(), 400);
}

pub(super) async fn appends_are_numbered_in_the_order_of_their_first_polls(
    storage: &Arc<dyn Storage>,
) {
    let ann = create(storage, "ann").await;
    let appends =
        (1..=100).map(|number: u64| storage.append(message_to(&ann, &number.to_string())));
    let (appended, ()) = tokio::join!(join_all(appends), reads(storage, &ann, 100));
    for (index, appended) in (1..).zip(appended) {
        assert_eq!(appended.unwrap().seq(), Some(index));
    }
    assert_eq!(bodies(storage, &ann, 0).await, numbered(100));
}

/// Whoever has several under way polls only the first of them, or goes away.
pub(super) async fn appends_get_on_without_being_polled(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let append = |number: u64| storage.append(message_to(&ann, &number.to_string()));
    let mut begun: Vec<_> = (1..=50).map(append).collect();
    let polled: Vec<_> = begun.iter_mut().map(poll_once).collect();
    let next = timeout(SOON, append(51)).await;
    let next = next.expect("waits for appends that nobody polls");
    assert_eq!(next.unwrap().seq(), Some(51));
    for (index, (append, polled)) in begun.into_iter().zip(polled).enumerate().rev() {
        let seq = index as u64 + 1;
        let appended = match polled {
            Poll::Ready(appended) => appended,
            Poll::Pending => append.await,
        };
        assert_eq!(appended.unwrap().seq(), Some(seq));
    }

    let mut unpolled = append(52);
    let _ = poll_once(&mut unpolled);
    let is_there = async {
        while storage.newest(&ann).await.unwrap() < 52 {
            tokio::task::yield_now().await;
        }
    };
    let is_there = timeout(SOON, is_there).await;
    is_there.expect("an append gets on though nobody polls it");
    drop(unpolled);

    // Those may be there or not; what is there has no gap.
    for number in 53..=60 {
        let _ = poll_once(&mut append(number));
    }
    let last = timeout(SOON, append(61)).await;
    let last = last.expect("waits for appends that were dropped");
    let numbers = bodies(storage, &ann, 0).await.into_iter();
    let numbers: Vec<_> = numbers.map(|(seq, _)| seq).collect();
    let seq = numbers.len() as u64;
    assert_eq!(last.unwrap().seq(), Some(seq));
    assert_eq!(numbers, Vec::from_iter(1..=seq));
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(future).poll(&mut cx)
}

/// Under the same rules, and behind what is under way. A store that waits appends nothing this way.
pub(super) async fn takes_messages_at_once_or_not_at_all(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    create(storage, "sender").await;
    if storage.append_now(&[&message_to(&ann, "1")]).is_none() {
        assert_eq!(storage.newest(&ann).await.unwrap(), 0);
        return;
    }
    let mut second = storage.append(message_to(&ann, "2"));
    let polled = poll_once(&mut second);
    let now = |message: &NewMessage| storage.append_now(&[message]).unwrap().pop().unwrap();
    let third = now(&with_mid(&ann, "3", "m", 1)).unwrap();
    assert_eq!(third.seq(), Some(3));
    let second = match polled {
        Poll::Ready(second) => second,
        Poll::Pending => second.await,
    };
    assert_eq!(second.unwrap().seq(), Some(2));
    let again = now(&with_mid(&ann, "3", "m", 50)).unwrap();
    assert!(matches!(again, Appended::Duplicate { id, .. } if id.as_str() == "id of 3"));
    let reused = now(&with_mid(&ann, "x", "m", 50));
    assert!(matches!(reused, Err(AppendError::MidReused)));
    let unknown = now(&message_to(&"nobody".into(), "x"));
    assert!(matches!(unknown, Err(AppendError::NoSuchUser)));
    let mut fourth = message_to(&ann, "4");
    fourth.limits.messages = 3;
    assert!(matches!(now(&fourth), Err(AppendError::InboxFull)));
    assert_eq!(bodies(storage, &ann, 0).await, numbered(3));
}

/// Each as if it were alone, but for those behind one to nobody: there the store stops.
pub(super) async fn takes_many_messages_at_once_or_none(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    create(storage, "sender").await;
    let mut too_much = message_to(&ann, "x");
    too_much.limits.messages = 0;
    let messages = [
        message_to(&ann, "1"),
        with_mid(&ann, "2", "m", 1),
        with_mid(&ann, "2", "m", 1),
        with_mid(&ann, "x", "m", 1),
        too_much,
        message_to(&ann, "3"),
        message_to(&bob, "1"),
        message_to(&ann, "4"),
        message_to(&"nobody".into(), "x"),
        message_to(&ann, "x"),
    ];
    let Some(appended) = storage.append_now(&messages.each_ref()) else {
        assert_eq!(storage.newest(&ann).await.unwrap(), 0);
        return;
    };
    let short = appended.iter().map(|appended| match appended {
        Ok(Appended::Stored { seq, .. }) => seq.to_string(),
        Ok(Appended::Duplicate { id, .. }) => id.to_string(),
        Err(error) => format!("{error:?}"),
    });
    let expected = [
        "1",
        "2",
        "id of 2",
        "MidReused",
        "InboxFull",
        "3",
        "1",
        "4",
        "NoSuchUser",
    ];
    assert_eq!(short.collect::<Vec<_>>(), expected);
    assert_eq!(bodies(storage, &ann, 0).await, numbered(4));
    assert_eq!(bodies(storage, &bob, 0).await, numbered(1));
}

pub(super) async fn is_read_in_pages(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    fill(storage, &ann, 9).await;
    let page = async |after, messages, bytes| {
        let page = storage
            .inbox(&ann, after, PageLimits::new(messages, bytes))
            .await;
        let page = page.unwrap().into_iter();
        page.map(|(seq, _)| seq).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 4, usize::MAX).await, [1, 2, 3, 4]);
    assert_eq!(page(4, 4, usize::MAX).await, [5, 6, 7, 8]);
    assert_eq!(page(8, 4, usize::MAX).await, [9]);
    assert!(page(9, 4, usize::MAX).await.is_empty());
    assert!(page(99, 4, usize::MAX).await.is_empty());
    assert_eq!(page(2, 4, 2).await, [3, 4], "the bodies have one byte each");
    assert_eq!(page(2, 4, 1).await, [3], "always at least one");
}

pub(super) async fn is_full_of_what_nobody_was_given(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let limits = InboxLimits::new(3, u64::MAX);
    for body in ["1", "2", "3"] {
        append(storage, &ann, body, limits).await.unwrap();
    }
    let full = append(storage, &ann, "4", limits).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
    assert_eq!(
        bodies(storage, &ann, 0).await,
        numbered(3),
        "nothing was done"
    );
    open(storage, &ann, 1, 1).await;
    advance(storage, &ann, 1, 1, 1).await;
    assert_eq!(append(storage, &ann, "4", limits).await.unwrap(), 4);
    let full = append(storage, &ann, "5", limits).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
}

pub(super) async fn is_full_by_bytes(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let limits = InboxLimits::new(u64::MAX, 10);
    append(storage, &ann, "12345", limits).await.unwrap();
    let full = append(storage, &ann, "123456", limits).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
    append(storage, &ann, "12345", limits).await.unwrap();
    open(storage, &ann, 1, 1).await;
    advance(storage, &ann, 1, 2, 1).await;
    append(storage, &ann, "1234567890", limits).await.unwrap();
}

pub(super) async fn drops_the_oldest_of_what_only_laggards_miss(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let limits = InboxLimits::new(3, u64::MAX);
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    for seq in 1..=9 {
        let appended = append(storage, &ann, &seq.to_string(), limits).await;
        assert_eq!(appended.unwrap(), seq);
        advance(storage, &ann, 1, seq, 2).await;
    }
    // What the second session still misses is kept, up to the limit.
    assert_eq!(bodies(storage, &ann, 0).await, numbered(9).split_off(6));
    advance(storage, &ann, 2, 9, 2).await;
    assert_eq!(append(storage, &ann, "10", limits).await.unwrap(), 10);
}

/// Appends a message of this sender, which some session is given at once; how many it has pushed out.
async fn send_and_give(
    storage: &Arc<dyn Storage>,
    user: &UserId,
    (sender, body): (&str, &str),
    limits: InboxLimits,
) -> u64 {
    let mut new = message_to(user, body);
    let mut message = (*new.message).clone();
    message.from = sender.into();
    (new.message, new.limits) = (message.into(), limits);
    let appended = storage.append(new).await.unwrap();
    let Appended::Stored { seq, dropped, .. } = appended else {
        panic!("not stored: {appended:?}");
    };
    advance(storage, user, 1, seq, 2).await;
    dropped
}

pub(super) async fn drops_of_the_sender_who_has_most(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    let limits = InboxLimits::new(6, u64::MAX);
    let mut dropped = 0;
    for sent in [("friend", "1"), ("stranger", "2"), ("other", "3")] {
        dropped += send_and_give(storage, &ann, sent, limits).await;
    }
    for number in 4..=20 {
        let sent = ("stranger", &*number.to_string());
        dropped += send_and_give(storage, &ann, sent, limits).await;
    }
    dropped += send_and_give(storage, &ann, ("friend", "21"), limits).await;
    let kept = [1, 3, 18, 19, 20, 21].map(|seq| (seq, seq.to_string()));
    assert_eq!(bodies(storage, &ann, 0).await, kept);
    assert_eq!(dropped, 15, "told of each");
    assert_eq!(bodies(storage, &ann, 2).await, kept[1..]);
    assert_eq!(storage.newest(&ann).await.unwrap(), 21);

    // Counters are right all the same.
    advance(storage, &ann, 2, 18, 3).await;
    assert_eq!(bodies(storage, &ann, 0).await, kept[3..]);
    for body in ["22", "23", "24", "25", "26", "27"] {
        append(storage, &ann, body, limits).await.unwrap();
    }
    let full = append(storage, &ann, "28", limits).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
    let waiting = bodies(storage, &ann, 0).await;
    assert_eq!(waiting, numbered(27).split_off(21), "what waits stays");
}

pub(super) async fn drops_of_the_sender_who_has_most_bytes(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    let limits = InboxLimits::new(u64::MAX, 14);
    for sent in [("friend", "1"), ("friend", "2"), ("friend", "3")] {
        send_and_give(storage, &ann, sent, limits).await;
    }
    for body in ["45678", "9abcd", "efghi", "jklmn"] {
        send_and_give(storage, &ann, ("stranger", body), limits).await;
    }
    let kept = [(1, "1"), (2, "2"), (3, "3"), (6, "efghi"), (7, "jklmn")];
    let kept = kept.map(|(seq, body)| (seq, body.to_owned()));
    assert_eq!(bodies(storage, &ann, 0).await, kept);
    let waits = append(storage, &ann, "12345678901234", limits).await;
    assert_eq!(waits.unwrap(), 8);
    let full = append(storage, &ann, "x", limits).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
    assert_eq!(bodies(storage, &ann, 0).await.len(), 1);
}

pub(super) async fn keeps_what_a_session_misses_and_drops_what_is_old(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    fill(storage, &ann, 4).await;
    advance(storage, &ann, 1, 4, 20).await;
    advance(storage, &ann, 2, 2, 20).await;
    let nothing_old = Expiry {
        now: at(30),
        sessions_before: at(0),
        messages_before: at(0),
        mids_before: at(0),
    };
    purge_all(storage, nothing_old).await.unwrap();
    assert_eq!(bodies(storage, &ann, 2).await, numbered(4).split_off(2));
    let messages_old = Expiry {
        messages_before: at(1),
        ..nothing_old
    };
    purge_all(storage, messages_old).await.unwrap();
    assert!(bodies(storage, &ann, 0).await.is_empty());
    assert_eq!(storage.newest(&ann).await.unwrap(), 4);
    let appended = append(storage, &ann, "5", NO_LIMIT).await;
    assert_eq!(appended.unwrap(), 5, "numbers go on");
    let sessions_old = Expiry {
        sessions_before: at(21),
        ..nothing_old
    };
    purge_all(storage, sessions_old).await.unwrap();
    assert_eq!(storage.session(&ann, &super::key(1)).await.unwrap(), None);
    assert_eq!(
        bodies(storage, &ann, 4).await.len(),
        1,
        "nobody was given it yet"
    );
}

pub(super) async fn returns_every_field(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let message = Message::new("the id", "bob {\"'\u{1}", ann.clone(), 1_700_000_123)
        .nick("Боб 🙂")
        .body("line\nline\u{0}")
        .attach(Attachment::new("image/png", "aGVsbG8=\n"));
    let mut new = message_to(&ann, "");
    new.message = message.clone().into();
    storage.append(new).await.unwrap();
    let inbox = storage.inbox(&ann, 0, ALL).await.unwrap();
    assert_eq!(inbox, [(1, message)]);
}
