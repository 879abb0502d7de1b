//! What outlives the process.

use super::{
    NO_LIMIT, advance, append, as_owner, at, bodies, create, key, message_to, open as open_session,
};
use crate::storage::{Address, AppendError, Appended, Lookup, ProfileChange, Storage};
use std::sync::Arc;
use std::task::{Context, Waker};

pub(super) async fn everything_answered_is_there_again(open: &impl AsyncFn() -> Arc<dyn Storage>) {
    let storage = open().await;
    let (ann, bob) = (create(&storage, "ann").await, create(&storage, "bob").await);
    let change = ProfileChange {
        email: Some(Address {
            text: "Bob@example.org".into(),
            key: Some("bob@example.org".to_owned()),
        }),
        user_status: Some("away".into()),
        ..ProfileChange::default()
    };
    storage
        .change_profile(&as_owner(&storage, &bob).await, change)
        .await
        .unwrap();
    storage
        .add_contact(&as_owner(&storage, &ann).await, &bob, 10)
        .await
        .unwrap();
    let entry = Lookup {
        myid: "17".into(),
        emails: vec!["bob@example.org".to_owned()],
        phones: Vec::new(),
    };
    let limits = crate::storage::FindLimits {
        matches: 10,
        bytes: usize::MAX,
        remembered: 10,
    };
    storage
        .find_users(&as_owner(&storage, &ann).await, vec![entry], limits)
        .await
        .unwrap();
    open_session(&storage, &bob, 1, 1).await;
    open_session(&storage, &bob, 2, 1).await;
    storage.end_session(&bob, &key(2)).await.unwrap();
    create(&storage, "sender").await;
    let mut first = message_to(&bob, "1");
    first.mid = Some("m".into());
    storage.append(first.clone()).await.unwrap();
    for body in ["2", "3", "4"] {
        append(&storage, &bob, body, NO_LIMIT).await.unwrap();
    }
    advance(&storage, &bob, 1, 2, 5).await;
    drop(storage);

    let storage = open().await;
    if let Some(accounts) = storage.accounts() {
        let account = accounts.account("bob").await.unwrap().unwrap();
        assert_eq!(account.pass_hash, "hash of bob");
    }
    let profile = storage.profile(&bob).await.unwrap().unwrap();
    assert_eq!(
        (&*profile.email, &*profile.user_status),
        ("Bob@example.org", "away")
    );
    let contacts = storage.contacts(&ann).await.unwrap();
    let contacts = contacts
        .iter()
        .map(|contact| (&*contact.myid, &contact.card.uid));
    assert_eq!(contacts.collect::<Vec<_>>(), [("17", &bob)]);
    let session = storage.session(&bob, &key(1)).await.unwrap().unwrap();
    assert_eq!((session.delivered_up_to, session.used), (2, at(5)));
    assert_eq!(storage.session(&bob, &key(2)).await.unwrap(), None);
    let again = storage.append(first.clone()).await.unwrap();
    assert!(matches!(again, Appended::Duplicate { .. }), "{again:?}");
    first.message = message_to(&bob, "another").message;
    let reused = storage.append(first).await;
    assert!(matches!(reused, Err(AppendError::MidReused)), "{reused:?}");
    let waiting = bodies(&storage, &bob, 2).await;
    assert_eq!(waiting, [(3, "3".to_owned()), (4, "4".to_owned())]);
    assert_eq!(append(&storage, &bob, "5", NO_LIMIT).await.unwrap(), 5);
    assert_eq!(open_session(&storage, &bob, 3, 6).await.delivered_up_to, 2);
}

pub(super) async fn appends_that_nobody_waits_for_leave_no_gap(
    open: &impl AsyncFn() -> Arc<dyn Storage>,
) {
    let storage = open().await;
    let eve = create(&storage, "eve").await;
    for number in 0..50 {
        let appending = storage.append(message_to(&eve, &number.to_string()));
        // Begun and dropped, as by a process that dies: it may or may not be there.
        let _ = std::pin::pin!(appending).poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(storage);
    let storage = open().await;
    let appended = append(&storage, &eve, "last", NO_LIMIT).await.unwrap();
    let numbers: Vec<_> = bodies(&storage, &eve, 0).await;
    let numbers: Vec<_> = numbers.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(numbers, (1..=appended).collect::<Vec<_>>());
}
