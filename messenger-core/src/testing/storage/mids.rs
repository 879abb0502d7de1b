//! The senders' own ids for their messages.

use super::{NO_LIMIT, advance, append, at, bodies, create, message_to, open, race};
use crate::storage::{AppendError, Appended, NewMessage, Storage};
use messenger_proto::{Message, UserId};
use std::sync::Arc;

/// A message of `sender`, who must be a user; a `mid` is remembered for 100 seconds.
pub(super) fn with_mid(to: &UserId, body: &str, mid: &str, now: u64) -> NewMessage {
    let mut message = message_to(to, body);
    message.mid = Some(mid.to_owned().into());
    message.now = at(now);
    message.mid_forgotten_before = at(now.saturating_sub(100));
    message
}

fn changed(mut new: NewMessage, change: impl FnOnce(&mut Message)) -> NewMessage {
    let mut message = (*new.message).clone();
    change(&mut message);
    new.message = message.into();
    new
}

/// Two recipients, with a sender who is a user.
async fn users(storage: &Arc<dyn Storage>) -> (UserId, UserId) {
    create(storage, "sender").await;
    (create(storage, "ann").await, create(storage, "bob").await)
}

pub(super) async fn store_once(storage: &Arc<dyn Storage>) {
    let (ann, _) = users(storage).await;
    let first = with_mid(&ann, "1", "m", 1);
    let stored = storage.append(first.clone()).await.unwrap();
    assert_eq!(stored.seq(), Some(1));
    let again = changed(with_mid(&ann, "1", "m", 50), |message| {
        // What the engine has made of it: another message, whose sender may be called otherwise by now.
        message.id = "another id".into();
        message.time += 50;
        message.nick = "Another nick".into();
    });
    let duplicate = Appended::Duplicate {
        id: "id of 1".into(),
        time: at(0).as_secs(),
    };
    assert_eq!(storage.append(again.clone()).await.unwrap(), duplicate);
    let other = storage.append(with_mid(&ann, "2", "n", 50)).await.unwrap();
    assert_eq!(other.seq(), Some(2));
    assert_eq!(bodies(storage, &ann, 0).await.len(), 2);

    open(storage, &ann, 1, 1).await;
    advance(storage, &ann, 1, 2, 2).await;
    assert_eq!(
        storage.append(again).await.unwrap(),
        duplicate,
        "though the first was given and need not be kept"
    );
    let mut full = with_mid(&ann, "1", "m", 50);
    full.limits.messages = 0;
    assert_eq!(
        storage.append(full).await.unwrap(),
        duplicate,
        "though there would be no room for it"
    );
}

pub(super) async fn belong_to_sender_and_recipient(storage: &Arc<dyn Storage>) {
    let (ann, bob) = users(storage).await;
    let eve = create(storage, "eve").await;
    let of_eve = |new| changed(new, |message| message.from = eve.clone());
    let stored = async |new, seq| {
        let appended = storage.append(new).await.unwrap();
        assert_eq!(appended.seq(), Some(seq));
    };
    stored(with_mid(&ann, "1", "m", 1), 1).await;
    stored(with_mid(&bob, "1", "m", 1), 1).await;
    stored(of_eve(with_mid(&ann, "2", "m", 1)), 2).await;
    stored(of_eve(with_mid(&bob, "2", "m", 1)), 2).await;
    for (to, body) in [(&ann, "1"), (&bob, "1")] {
        let again = storage.append(with_mid(to, body, "m", 2)).await.unwrap();
        assert!(matches!(again, Appended::Duplicate { .. }), "{again:?}");
    }
    // Neither a way of writing one beside the other.
    let (ab, c) = (create(storage, "ab").await, create(storage, "c").await);
    let a = create(storage, "a").await;
    stored(
        changed(with_mid(&a, "x", "d", 1), |new| new.from = ab.clone()),
        1,
    )
    .await;
    stored(
        changed(with_mid(&ab, "x", "d", 1), |new| new.from = a.clone()),
        1,
    )
    .await;
    stored(
        changed(with_mid(&a, "x", "cd", 1), |new| new.from = c.clone()),
        2,
    )
    .await;
}

pub(super) async fn are_refused_for_something_else(storage: &Arc<dyn Storage>) {
    let (ann, _) = users(storage).await;
    let first = with_mid(&ann, "text", "m", 1);
    let first = changed(first, |message| {
        message.attach.mime = "image/png".into();
        message.attach.data = "AAAA".into();
    });
    storage.append(first.clone()).await.unwrap();
    let refused = async |change: &dyn Fn(&mut Message)| {
        let appended = storage.append(changed(first.clone(), change)).await;
        assert!(
            matches!(appended, Err(AppendError::MidReused)),
            "{appended:?}"
        );
    };
    refused(&|message| message.body = "other text".into()).await;
    refused(&|message| message.attach.mime = "image/gif".into()).await;
    refused(&|message| message.attach.data = "AAAB".into()).await;
    refused(&|message| {
        message.body = "texti".into();
        message.attach.mime = "mage/png".into();
    })
    .await;
    assert_eq!(storage.newest(&ann).await.unwrap(), 1, "nothing was done");
    let again = storage.append(first).await.unwrap();
    assert!(matches!(again, Appended::Duplicate { .. }), "{again:?}");
}

pub(super) async fn are_forgotten(storage: &Arc<dyn Storage>) {
    let (ann, _) = users(storage).await;
    let send = async |body, now| storage.append(with_mid(&ann, body, "m", now)).await;
    assert_eq!(send("1", 1).await.unwrap().seq(), Some(1));
    let last = send("1", 101).await.unwrap();
    assert!(matches!(last, Appended::Duplicate { .. }), "not yet");
    assert_eq!(send("2", 102).await.unwrap().seq(), Some(2));
    let again = send("2", 103).await.unwrap();
    assert!(matches!(again, Appended::Duplicate { .. }), "used anew");
}

pub(super) async fn are_not_taken_by_failures(storage: &Arc<dyn Storage>) {
    let (ann, _) = users(storage).await;
    let nobody = UserId::from("nobody");
    let unknown = storage.append(with_mid(&nobody, "x", "m", 1)).await;
    assert!(matches!(unknown, Err(AppendError::NoSuchUser)));
    let mut full = with_mid(&ann, "x", "m", 1);
    full.limits.messages = 0;
    let full = storage.append(full).await;
    assert!(matches!(full, Err(AppendError::InboxFull)));
    create(storage, "nobody").await;
    for recipient in [ann, nobody] {
        let sent = storage.append(with_mid(&recipient, "1", "m", 1)).await;
        assert_eq!(sent.unwrap().seq(), Some(1));
    }
}

pub(super) async fn of_racing_appends_store_one(storage: &Arc<dyn Storage>) {
    let (ann, bob) = users(storage).await;
    let appends = (0..32_usize).map(|number| {
        let recipient = if number < 16 { &ann } else { &bob };
        let new = changed(with_mid(recipient, "the same", "m", 1), |message| {
            message.id = format!("id {number}").into();
        });
        let storage = Arc::clone(storage);
        async move { storage.append(new).await.unwrap() }
    });
    let appended = race(appends.collect::<Vec<_>>()).await.into_iter();
    let stored = appended.filter(|one| one.seq() == Some(1));
    assert_eq!(stored.count(), 2, "one to each recipient");
    for recipient in [&ann, &bob] {
        assert_eq!(bodies(storage, recipient, 0).await.len(), 1);
    }

    let appends = (0..16_usize).map(|number| {
        let new = with_mid(&ann, &format!("another {number}"), "n", 1);
        let storage = Arc::clone(storage);
        async move { storage.append(new).await }
    });
    let appended = race(appends.collect::<Vec<_>>()).await.into_iter();
    let (stored, refused): (Vec<_>, Vec<_>) = appended.partition(Result::is_ok);
    assert_eq!(stored.len(), 1);
    let mut refused = refused.into_iter();
    assert!(refused.all(|one| matches!(one, Err(AppendError::MidReused))));
    assert_eq!(append(storage, &ann, "x", NO_LIMIT).await.unwrap(), 3);
}
