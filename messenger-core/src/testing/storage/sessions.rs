//! Sessions and their watermarks.

use super::{ALL, NO_LIMIT, advance, append, as_owner, at, bodies, create, key, open};
use crate::storage::{
    Expiry, LOOKED_AT_ONCE, Look, NewSession, OpenSessionError, Owner, PageLimits, ResumedSession,
    Seen, Storage, UserNumber, Watermark,
};
use messenger_proto::UserId;
use std::sync::Arc;
use std::time::Duration;

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
        owner: Owner {
            user: "nobody".into(),
            number: UserNumber::default(),
        },
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
        owner: as_owner(storage, &ann).await,
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
        owner: as_owner(storage, &ann).await,
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
    let known = async |user, number| {
        let record = record(user, number).await.unwrap();
        (record.delivered_up_to, record.used)
    };
    assert_eq!(record(&ann, 1).await, None, "has ended");
    assert_eq!(known(&ann, 2).await, (2, at(9)));
    assert_eq!(known(&bob, 2).await, (2, at(7)));
    assert_eq!(known(&bob, 1).await, (0, at(1)), "was not marked");
    let waiting = bodies(storage, &bob, 0).await;
    assert_eq!(waiting.len(), 2, "the other session has not had them");
}

pub(super) async fn are_looked_for_together(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    for number in [1, 2] {
        open(storage, &ann, number, 1).await;
    }
    open(storage, &bob, 3, 1).await;
    for body in ["a", "b"] {
        append(storage, &ann, body, NO_LIMIT).await.unwrap();
    }
    advance(storage, &ann, 1, 2, 2).await;
    advance(storage, &ann, 2, 2, 2).await;
    storage.end_session(&ann, &key(1)).await.unwrap();
    let (of_ann, of_bob) = (as_owner(storage, &ann).await, as_owner(storage, &bob).await);
    let nobody = Owner::new("nobody", UserNumber(u64::MAX));
    let there = |newest| Seen::There { newest };
    let cases = [
        (&of_ann, Some(1), Seen::Ended),
        (&of_ann, Some(2), there(2)),
        (&of_bob, Some(3), there(0)),
        (&of_bob, Some(2), Seen::Ended),
        (&nobody, Some(2), Seen::Ended),
        (&of_ann, None, there(2)),
        (&nobody, None, Seen::Ended),
        (&of_ann, Some(2), there(2)),
    ];
    let looks = cases
        .iter()
        .map(|(owner, session, _)| Look::new((*owner).clone(), session.map(key)));
    let seen = storage.look(looks.collect()).await.unwrap();
    assert_eq!(seen, cases.map(|(.., seen)| seen));

    assert_eq!(storage.look(Vec::new()).await.unwrap(), []);
    let many = vec![Look::new(of_ann.clone(), Some(key(2))); LOOKED_AT_ONCE];
    let seen = storage.look(many).await.unwrap();
    assert_eq!(seen, [there(2); LOOKED_AT_ONCE]);

    storage.delete_user(&ann).await.unwrap();
    create(storage, "ann").await;
    let looks = [Some(key(2)), None].map(|session| Look::new(of_ann.clone(), session));
    let seen = storage.look(looks.to_vec()).await.unwrap();
    assert_eq!(seen, [Seen::Ended; 2], "another has the id");
}

pub(super) async fn that_are_ephemeral_end_together(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    open(storage, &ann, 1, 1).await;
    let begin = async |user: &UserId| {
        let ended = storage.ephemeral_ended(user).await.unwrap();
        Look::new(as_owner(storage, user).await, None).ephemeral_ended(ended)
    };
    let see = async |look: &Look| {
        let seen = storage.look(vec![look.clone()]).await.unwrap();
        let given = storage.inbox_for(look, 0, ALL).await.unwrap();
        let is_there = matches!(seen[..], [Seen::There { .. }]);
        assert_eq!(given.is_some(), is_there, "{look:?}");
        is_there
    };
    let (of_ann, of_bob) = (begin(&ann).await, begin(&bob).await);
    assert!(see(&of_ann).await);
    storage.end_ephemeral(&"nobody".into()).await.unwrap();
    storage.end_ephemeral(&ann).await.unwrap();
    let later = begin(&ann).await;
    if later == of_ann {
        // The store leaves it to the notices.
        return;
    }
    assert!(!see(&of_ann).await, "has ended");
    assert!(see(&later).await, "has begun behind the end");
    assert!(see(&of_bob).await, "another's");
    let lasting = storage.session(&ann, &key(1)).await.unwrap();
    assert!(lasting.is_some(), "ended with the ephemeral ones");
    storage.end_ephemeral(&ann).await.unwrap();
    assert!(!see(&later).await, "has ended too");
}

pub(super) async fn are_resumed(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    open(storage, &ann, 1, 1).await;
    append(storage, &ann, "a", NO_LIMIT).await.unwrap();
    advance(storage, &ann, 1, 1, 2).await;
    let record = storage.session(&ann, &key(1)).await.unwrap().unwrap();
    let resumed = ResumedSession::new(record, "nick of ann");
    assert_eq!(
        storage.resume(&ann, &key(1)).await.unwrap(),
        Some(resumed.clone())
    );
    assert_eq!(storage.resume(&bob, &key(1)).await.unwrap(), None);
    assert_eq!(storage.resume(&ann, &key(2)).await.unwrap(), None);
    storage.end_session(&ann, &key(1)).await.unwrap();
    assert_eq!(storage.resume(&ann, &key(1)).await.unwrap(), None);
}

pub(super) async fn are_given_their_inbox_until_they_end(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    open(storage, &ann, 1, 1).await;
    open(storage, &ann, 2, 1).await;
    for body in ["a", "b", "c"] {
        append(storage, &ann, body, NO_LIMIT).await.unwrap();
    }
    let owner = as_owner(storage, &ann).await;
    let (session, user) = (
        Look::new(owner.clone(), Some(key(1))),
        Look::new(owner, None),
    );
    let page = PageLimits::new(2, usize::MAX);
    for (after, page) in [(0, page), (1, page), (0, ALL), (3, ALL), (9, ALL)] {
        let inbox = storage.inbox(&ann, after, page).await.unwrap();
        for look in [&session, &user] {
            let given = storage.inbox_for(look, after, page).await.unwrap();
            assert_eq!(given.as_ref(), Some(&inbox), "behind {after}");
        }
    }
    storage.end_session(&ann, &key(1)).await.unwrap();
    assert_eq!(storage.inbox_for(&session, 0, ALL).await.unwrap(), None);
    assert!(storage.inbox_for(&user, 0, ALL).await.unwrap().is_some());
    storage.delete_user(&ann).await.unwrap();
    assert_eq!(storage.inbox_for(&user, 0, ALL).await.unwrap(), None);
    create(storage, "ann").await;
    append(storage, &ann, "for the next", NO_LIMIT)
        .await
        .unwrap();
    for look in [&session, &user] {
        let given = storage.inbox_for(look, 0, ALL).await.unwrap();
        assert_eq!(given, None, "another has the id");
    }
}

pub(super) async fn used_in_the_future_are_brought_back(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for (number, used) in [(1, 100), (2, 3), (3, 1000)] {
        open(storage, &ann, number, used).await;
    }
    let long = Duration::from_secs(1_000_000_000);
    let expiry = Expiry::at(at(5), long, long, long);
    while storage.purge_expired(expiry).await.unwrap().is_zero() {}
    for (number, used) in [(1, 5), (2, 3), (3, 5)] {
        let record = storage.session(&ann, &key(number)).await.unwrap();
        assert_eq!(record.unwrap().used, at(used), "session {number}");
    }
    advance(storage, &ann, 1, 0, 6).await;
    let record = storage.session(&ann, &key(1)).await.unwrap();
    assert_eq!(record.unwrap().used, at(6), "and goes on from there");
}
