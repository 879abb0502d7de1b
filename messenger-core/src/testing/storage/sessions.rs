//! Sessions and their places.

use super::{NO_LIMIT, advance, append, at, bodies, create, key, open};
use crate::storage::{Expiry, NewSession, OpenSessionError, Storage, Watermark};
use messenger_proto::UserId;
use std::sync::Arc;

pub(super) async fn begin_behind_what_any_session_was_given(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for body in ["a", "b", "c"] {
        append(storage, &ann, body, NO_LIMIT).await.unwrap();
    }
    assert_eq!(
        open(storage, &ann, 1, 1).await.delivered_up_to,
        0,
        "all of it has waited"
    );
    advance(storage, &ann, 1, 2, 2).await;
    assert_eq!(open(storage, &ann, 2, 3).await.delivered_up_to, 2);
    storage.end_session(&ann, &key(1)).await.unwrap();
    storage.end_session(&ann, &key(2)).await.unwrap();
    assert_eq!(
        open(storage, &ann, 3, 4).await.delivered_up_to,
        2,
        "ended ones count too"
    );
    let nobody = NewSession {
        user: "nobody".into(),
        key: key(9),
        ack: false,
        now: at(0),
        expired_before: at(0),
        limit: 8,
    };
    let opened = storage.open_session(nobody).await;
    assert!(matches!(opened, Err(OpenSessionError::NoSuchUser)));
}

pub(super) async fn keep_their_own_places(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let session = NewSession {
        user: ann.clone(),
        key: key(1),
        ack: true,
        now: at(5),
        expired_before: at(0),
        limit: 8,
    };
    storage.open_session(session).await.unwrap();
    open(storage, &ann, 2, 6).await;
    for body in ["a", "b", "c"] {
        append(storage, &ann, body, NO_LIMIT).await.unwrap();
    }
    advance(storage, &ann, 1, 2, 7).await;
    let record = async |number| storage.session(&ann, &key(number)).await.unwrap().unwrap();
    let first = record(1).await;
    assert_eq!(
        (first.delivered_up_to, first.ack, first.used),
        (2, true, at(7))
    );
    assert_eq!(
        (record(2).await.delivered_up_to, record(2).await.ack),
        (0, false)
    );
    advance(storage, &ann, 1, 1, 3).await;
    assert_eq!(
        (record(1).await.delivered_up_to, record(1).await.used),
        (2, at(7)),
        "never back"
    );
    advance(storage, &ann, 1, 99, 8).await;
    assert_eq!(
        record(1).await.delivered_up_to,
        3,
        "never beyond the newest"
    );
    assert_eq!(storage.session(&"bob".into(), &key(1)).await.unwrap(), None);
}

pub(super) async fn over_the_limit_the_least_recently_used_ends(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for number in 1..=8 {
        assert!(
            open(storage, &ann, number, number.into())
                .await
                .ended
                .is_empty()
        );
    }
    advance(storage, &ann, 1, 0, 100).await;
    assert_eq!(open(storage, &ann, 9, 101).await.ended, [key(2)]);
    assert_eq!(storage.session(&ann, &key(2)).await.unwrap(), None);
    assert!(storage.session(&ann, &key(1)).await.unwrap().is_some());
}

pub(super) async fn that_expired_do_not_count(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    append(storage, &ann, "a", NO_LIMIT).await.unwrap();
    open(storage, &ann, 1, 1).await;
    let session = NewSession {
        user: ann.clone(),
        key: key(2),
        ack: false,
        now: at(50),
        expired_before: at(10),
        limit: 1,
    };
    storage.open_session(session).await.unwrap();
    advance(storage, &ann, 2, 1, 51).await;
    let waiting = bodies(storage, &ann, 0).await;
    assert!(
        waiting.is_empty(),
        "kept for an expired session: {waiting:?}"
    );
}

pub(super) async fn end(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    for user in [&ann, &bob] {
        open(storage, user, 1, 1).await;
        open(storage, user, 2, 1).await;
    }
    storage.end_session(&ann, &key(1)).await.unwrap();
    storage.end_session(&ann, &key(1)).await.unwrap();
    for (user, number) in [(&ann, 2), (&bob, 1), (&bob, 2)] {
        let other = storage.session(user, &key(number)).await.unwrap();
        assert!(other.is_some(), "ended with another");
    }
    assert_eq!(storage.session(&ann, &key(1)).await.unwrap(), None);
    advance(storage, &ann, 1, 1, 2).await;
    assert_eq!(
        storage.session(&ann, &key(1)).await.unwrap(),
        None,
        "stays ended"
    );
}

pub(super) async fn move_together(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    for user in [&ann, &bob] {
        open(storage, user, 1, 1).await;
        open(storage, user, 2, 1).await;
        for body in ["a", "b"] {
            append(storage, user, body, NO_LIMIT).await.unwrap();
        }
    }
    storage.end_session(&ann, &key(1)).await.unwrap();
    let mark = |user: &UserId, number, delivered_up_to, used| Watermark {
        user: user.clone(),
        session: key(number),
        delivered_up_to,
        used: at(used),
    };
    let watermarks = vec![
        mark(&ann, 1, 2, 9),
        mark(&"nobody".into(), 1, 2, 9),
        mark(&bob, 2, 1, 7),
        mark(&ann, 2, 2, 9),
        mark(&bob, 2, 2, 6),
    ];
    storage.advance(watermarks).await.unwrap();
    let record = async |user, number| storage.session(user, &key(number)).await.unwrap();
    let place = async |user, number| {
        let record = record(user, number).await.unwrap();
        (record.delivered_up_to, record.used)
    };
    assert_eq!(record(&ann, 1).await, None, "has ended");
    assert_eq!(place(&ann, 2).await, (2, at(9)));
    assert_eq!(place(&bob, 2).await, (2, at(7)));
    assert_eq!(place(&bob, 1).await, (0, at(1)), "was not marked");
    let waiting = bodies(storage, &bob, 0).await;
    assert_eq!(waiting.len(), 2, "the other session has not had them");
}

pub(super) async fn used_in_the_future_are_brought_back(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for (number, used) in [(1, 100), (2, 3), (3, 1000)] {
        open(storage, &ann, number, used).await;
    }
    let expiry = Expiry {
        now: at(5),
        sessions_before: at(0),
        messages_before: at(0),
        mids_before: at(0),
    };
    while storage.purge_expired(expiry).await.unwrap() {}
    for (number, used) in [(1, 5), (2, 3), (3, 5)] {
        let record = storage.session(&ann, &key(number)).await.unwrap();
        assert_eq!(record.unwrap().used, at(used), "session {number}");
    }
    advance(storage, &ann, 1, 0, 6).await;
    let record = storage.session(&ann, &key(1)).await.unwrap();
    assert_eq!(record.unwrap().used, at(6), "and goes on from there");
}
