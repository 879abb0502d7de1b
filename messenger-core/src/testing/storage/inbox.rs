//! Inboxes.

use super::{ALL, NO_LIMIT, advance, append, at, bodies, create, message_to, open};
use crate::policy::InboxLimits;
use crate::storage::{
    AppendError, Appended, NewMessage, OutOfDate, PageLimits, Storage, StorageError,
};
use futures_util::future::join_all;
use messenger_proto::{Attachment, Message, SharedMessage, UserId};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn numbered(count: u64) -> Vec<(u64, String)> {
    (1..=count).map(|seq| (seq, seq.to_string())).collect()
}

async fn fill(storage: &Arc<dyn Storage>, user: &UserId, count: u64) {
    for seq in 1..=count {
        let appended = append(storage, user, &seq.to_string(), NO_LIMIT).await;
        assert_eq!(appended.unwrap(), seq);
    }
}

async fn sweep_all(storage: &Arc<dyn Storage>, out_of_date: OutOfDate) -> Result<(), StorageError> {
    while storage.sweep(out_of_date).await? {}
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

pub(super) async fn racing_appends_leave_no_gap(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let senders = (0..8).map(|sender| {
        let (storage, ann) = (Arc::clone(storage), ann.clone());
        tokio::spawn(async move {
            let mut places = Vec::new();
            for number in 0..50 {
                let body = format!("{sender} {number}");
                places.push(append(&storage, &ann, &body, NO_LIMIT).await.unwrap());
            }
            assert!(places.is_sorted(), "a sender's own messages changed places");
            places
        })
    });
    let places = join_all(senders.collect::<Vec<_>>()).await.into_iter();
    let places: BTreeSet<u64> = places.flat_map(Result::unwrap).collect();
    assert_eq!(places, (1..=400).collect());
    let stored: Vec<_> = bodies(storage, &ann, 0).await;
    assert_eq!(stored.len(), 400);
}

pub(super) async fn appends_take_places_in_the_order_of_their_first_polls(
    storage: &Arc<dyn Storage>,
) {
    let ann = create(storage, "ann").await;
    let appends =
        (1..=100).map(|number: u64| storage.append(message_to(&ann, &number.to_string())));
    for (index, appended) in (1..).zip(join_all(appends).await) {
        assert_eq!(appended.unwrap(), Appended::Stored { seq: index });
    }
    assert_eq!(bodies(storage, &ann, 0).await, numbered(100));
}

/// Under the same rules, and behind what is under way. A store that waits appends nothing this way.
pub(super) async fn takes_messages_at_once_or_not_at_all(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    if storage.append_now(&message_to(&ann, "1")).is_none() {
        assert_eq!(storage.newest(&ann).await.unwrap(), 0);
        return;
    }
    let mut second = pin!(storage.append(message_to(&ann, "2")));
    let polled = second
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    let now = |message: &NewMessage| storage.append_now(message).unwrap();
    let third = now(&with_mid(&ann, "3", "m", 1)).unwrap();
    assert_eq!(third, Appended::Stored { seq: 3 });
    let second = match polled {
        Poll::Ready(second) => second,
        Poll::Pending => second.await,
    };
    assert_eq!(second.unwrap(), Appended::Stored { seq: 2 });
    let again = now(&with_mid(&ann, "x", "m", 50)).unwrap();
    assert!(matches!(again, Appended::Duplicate { id, .. } if id.as_str() == "id of 3"));
    let unknown = now(&message_to(&"nobody".into(), "x"));
    assert!(matches!(unknown, Err(AppendError::NoSuchUser)));
    let mut fourth = message_to(&ann, "4");
    fourth.limits.messages = 3;
    assert!(matches!(now(&fourth), Err(AppendError::InboxFull)));
    assert_eq!(bodies(storage, &ann, 0).await, numbered(3));
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

pub(super) async fn keeps_what_a_session_misses_and_drops_what_is_old(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    fill(storage, &ann, 4).await;
    advance(storage, &ann, 1, 4, 20).await;
    advance(storage, &ann, 2, 2, 20).await;
    let nothing_old = OutOfDate {
        sessions_before: at(0),
        messages_before: at(0),
        mids_before: at(0),
    };
    sweep_all(storage, nothing_old).await.unwrap();
    assert_eq!(bodies(storage, &ann, 2).await, numbered(4).split_off(2));
    let messages_old = OutOfDate {
        messages_before: at(1),
        ..nothing_old
    };
    sweep_all(storage, messages_old).await.unwrap();
    assert!(bodies(storage, &ann, 0).await.is_empty());
    assert_eq!(storage.newest(&ann).await.unwrap(), 4);
    let appended = append(storage, &ann, "5", NO_LIMIT).await;
    assert_eq!(appended.unwrap(), 5, "places go on");
    let sessions_old = OutOfDate {
        sessions_before: at(21),
        ..nothing_old
    };
    sweep_all(storage, sessions_old).await.unwrap();
    assert_eq!(storage.session(&ann, &super::key(1)).await.unwrap(), None);
    assert_eq!(
        bodies(storage, &ann, 4).await.len(),
        1,
        "nobody was given it yet"
    );
}

fn with_mid(user: &UserId, body: &str, mid: &str, now: u64) -> NewMessage {
    let mut message = message_to(user, body);
    message.mid = Some(mid.to_owned().into());
    message.now = at(now);
    message.mid_forgotten_before = at(now.saturating_sub(100));
    message
}

pub(super) async fn stores_a_mid_once(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let first = storage.append(with_mid(&ann, "1", "m", 1)).await.unwrap();
    assert_eq!(first, Appended::Stored { seq: 1 });
    let again = storage.append(with_mid(&ann, "2", "m", 50)).await.unwrap();
    let duplicate = Appended::Duplicate {
        id: "id of 1".into(),
        time: at(0).as_secs(),
    };
    assert_eq!(again, duplicate);
    let other = storage.append(with_mid(&ann, "2", "n", 50)).await.unwrap();
    assert_eq!(other, Appended::Stored { seq: 2 });
    let mut of_another = with_mid(&ann, "3", "m", 50);
    let mut message = Message::clone(&of_another.message);
    message.from = "somebody else".into();
    of_another.message = SharedMessage::from(message);
    let of_another = storage.append(of_another).await.unwrap();
    assert_eq!(of_another, Appended::Stored { seq: 3 });
    let forgotten = storage.append(with_mid(&ann, "4", "m", 102)).await.unwrap();
    assert_eq!(forgotten, Appended::Stored { seq: 4 });
    let failed = storage
        .append(with_mid(&"nobody".into(), "x", "o", 1))
        .await;
    assert!(matches!(failed, Err(AppendError::NoSuchUser)));
    let after_failure = storage.append(with_mid(&ann, "5", "o", 1)).await.unwrap();
    assert_eq!(
        after_failure,
        Appended::Stored { seq: 5 },
        "a failure takes no mid"
    );
}

pub(super) async fn of_racing_appends_with_one_mid_one_is_stored(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let appends = (0..16).map(|number: u64| {
        let (storage, ann) = (Arc::clone(storage), ann.clone());
        tokio::spawn(async move {
            let message = with_mid(&ann, &number.to_string(), "m", 1);
            storage.append(message).await.unwrap()
        })
    });
    let appended = join_all(appends.collect::<Vec<_>>()).await.into_iter();
    let stored = appended.filter(|one| matches!(one, Ok(Appended::Stored { .. })));
    assert_eq!(stored.count(), 1);
    assert_eq!(storage.newest(&ann).await.unwrap(), 1);
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
