//! Users as an operator sees them.

use super::{ALL, advance, append, as_owner, at, bodies, create, key, message_to, open};
use crate::policy::InboxLimits;
use crate::storage::{
    AddContactError, Address, AppendError, Appended, FindLimits, Lookup, NewMessage, NewSession,
    OpenSessionError, Owner, ProfileChange, Storage,
};
use messenger_proto::UserId;
use std::sync::Arc;

pub(super) async fn are_listed_in_the_order_of_their_ids(storage: &Arc<dyn Storage>) {
    for login in ["cid", "ann", "bob"] {
        create(storage, login).await;
    }
    storage
        .upsert_external_user(&"dan".into(), "Dan")
        .await
        .unwrap();
    let names = async |after: Option<&str>, limit| {
        let after = after.map(UserId::from);
        let users = storage.users(after.as_ref(), limit).await.unwrap();
        let users = users.iter().map(|user| user.as_str().to_owned());
        users.collect::<Vec<_>>()
    };
    assert_eq!(names(None, 2).await, ["ann", "bob"]);
    assert_eq!(names(Some("bob"), 9).await, ["cid", "dan"]);
    assert!(names(Some("dan"), 9).await.is_empty());
    let data = async |user: &str| storage.user_data(&user.into()).await.unwrap();
    let has_account = data("ann").await.unwrap().has_account;
    assert_eq!(has_account, storage.accounts().is_some());
    assert!(!data("dan").await.unwrap().has_account);
    assert_eq!(data("eve").await, None);
}

pub(super) async fn are_deleted_with_all_that_is_theirs(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    for (owner, other) in [(&ann, &bob), (&bob, &ann)] {
        know(storage, owner, other).await;
    }
    create(storage, "sender").await;
    open(storage, &ann, 1, 0).await;
    open(storage, &ann, 2, 0).await;
    append(storage, &ann, "first to ann", super::NO_LIMIT)
        .await
        .unwrap();
    let mut from_ann = message_to(&bob, "from ann");
    from_ann.message = {
        let mut message = (*from_ann.message).clone();
        message.from = ann.clone();
        message.into()
    };
    from_ann.mid = Some("mid".into());
    from_ann.sender = Some(as_owner(storage, &ann).await.number);
    storage.append(from_ann.clone()).await.unwrap();
    let mut to_ann = message_to(&ann, "to ann");
    to_ann.mid = Some("mid".into());
    storage.append(to_ann.clone()).await.unwrap();

    let data = storage.user_data(&ann).await.unwrap().unwrap();
    assert_eq!(data.profile.email, "ann@example.org");
    assert_eq!(data.contacts.len(), 1);
    assert_eq!(data.remembered, [(bob.clone(), "friend".into())]);
    assert_eq!(data.newest, 2);
    let mut sessions: Vec<_> = data.sessions.iter().map(|(key, _)| *key).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [key(1), key(2)]);

    assert!(storage.delete_user(&ann).await.unwrap());
    assert!(!storage.delete_user(&ann).await.unwrap());
    assert_eq!(storage.user_data(&ann).await.unwrap(), None);
    for ended in [key(1), key(2)] {
        assert_eq!(storage.session(&ann, &ended).await.unwrap(), None);
    }
    assert!(
        append(storage, &ann, "gone", super::NO_LIMIT)
            .await
            .is_err()
    );
    let of_bob = storage.user_data(&bob).await.unwrap().unwrap();
    assert!(of_bob.contacts.is_empty() && of_bob.remembered.is_empty());
    assert_eq!(
        bodies(storage, &bob, 0).await.len(),
        1,
        "what was sent stays"
    );
    let found = find(storage, &bob, "ann@example.org").await;
    assert_eq!(found, 0);

    // Whoever comes next under that name has nothing of it; login and nick are free.
    let ann = create(storage, "ann").await;
    let data = storage.user_data(&ann).await.unwrap().unwrap();
    assert_eq!(data.newest, 0);
    assert!(data.contacts.is_empty() && data.remembered.is_empty());
    assert!(data.sessions.is_empty());
    assert_eq!(data.profile.email, "");
    assert!(storage.inbox(&ann, 0, ALL).await.unwrap().is_empty());
    let limits = InboxLimits::default();
    assert_eq!(append(storage, &ann, "new", limits).await.unwrap(), 1);
    from_ann.sender = Some(as_owner(storage, &ann).await.number);
    for mut again in [from_ann, to_ann] {
        again.now = at(1);
        let again = storage.append(again).await.unwrap();
        assert_eq!(again.seq(), Some(2), "not a duplicate");
    }
}

/// A message of the owner's, under a `mid` that is always the same.
fn message_of(owner: &Owner, to: &UserId, body: &str) -> NewMessage {
    let mut new = message_to(to, body);
    let mut message = (*new.message).clone();
    message.from = owner.user.clone();
    new.message = message.into();
    new.sender = Some(owner.number);
    new.mid = Some("mid".into());
    new
}

pub(super) async fn are_told_from_others_who_have_had_the_id(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    let before = as_owner(storage, &ann).await;
    storage.upsert_external_user(&ann, "Anna").await.unwrap();
    assert_eq!(as_owner(storage, &ann).await, before, "the same user");
    assert_ne!(as_owner(storage, &bob).await.number, before.number);
    open(storage, &ann, 1, 0).await;
    let session = storage.session(&ann, &key(1)).await.unwrap();
    assert_eq!(session.unwrap().user_number, before.number);
    let appended = storage.append(message_to(&ann, "x")).await.unwrap();
    let stored = Appended::Stored {
        seq: 1,
        recipient: before.number,
        dropped: 0,
    };
    assert_eq!(appended, stored);
    storage.delete_user(&ann).await.unwrap();
    assert_eq!(storage.user_number(&ann).await.unwrap(), None);
    storage.upsert_external_user(&ann, "Ann").await.unwrap();
    assert_ne!(as_owner(storage, &ann).await.number, before.number);
}

pub(super) async fn who_are_gone_do_nothing_in_the_name_of_the_next(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    let gone = as_owner(storage, &ann).await;
    open(storage, &ann, 1, 0).await;
    storage.delete_user(&ann).await.unwrap();
    create(storage, "ann").await;
    let next = as_owner(storage, &ann).await;

    let email = |text: &str| ProfileChange {
        email: Some(Address {
            text: text.to_owned().into(),
            key: Some(text.to_owned()),
        }),
        ..ProfileChange::default()
    };
    let change = email("gone@example.org");
    storage.change_profile(&gone, change).await.unwrap();
    let profile = storage.profile(&ann).await.unwrap().unwrap();
    assert_eq!(profile.email, "");
    assert_eq!(find(storage, &bob, "gone@example.org").await, 0);

    let added = storage.add_contact(&gone, &bob, 9).await;
    assert!(matches!(added, Err(AddContactError::NoSuchUser)));
    assert!(storage.contacts(&ann).await.unwrap().is_empty());
    storage.add_contact(&next, &bob, 9).await.unwrap();
    storage.remove_contact(&gone, &bob).await.unwrap();
    assert_eq!(storage.contacts(&ann).await.unwrap().len(), 1);

    let of_bob = as_owner(storage, &bob).await;
    let change = email("bob@example.org");
    storage.change_profile(&of_bob, change).await.unwrap();
    find_as(storage, &gone, "bob@example.org").await;
    let data = storage.user_data(&ann).await.unwrap().unwrap();
    assert!(data.remembered.is_empty());

    let session = NewSession {
        owner: gone.clone(),
        key: key(2),
        ack: false,
        now: at(0),
        expired_before: at(0),
        limit: 8,
    };
    let opened = storage.open_session(session).await;
    assert!(matches!(opened, Err(OpenSessionError::NoSuchUser)));
    assert_eq!(storage.session(&ann, &key(2)).await.unwrap(), None);
    open(storage, &ann, 3, 0).await;
    let appended = append(storage, &ann, "waits", super::NO_LIMIT).await;
    assert_eq!(appended.unwrap(), 1);
    advance(storage, &ann, 1, 1, 1).await;
    assert_eq!(open(storage, &ann, 4, 0).await.delivered_up_to, 0);

    let stored = storage.append(message_of(&next, &bob, "mine")).await;
    assert_eq!(stored.unwrap().seq(), Some(1));
    let mut without_mid = message_of(&gone, &bob, "x");
    without_mid.mid = None;
    for message in [message_of(&gone, &bob, "mine"), without_mid] {
        if let Some(appended) = storage.append_now(&[&message]) {
            assert!(matches!(appended[..], [Err(AppendError::NoSuchSender)]));
        }
        let appended = storage.append(message).await;
        assert!(matches!(appended, Err(AppendError::NoSuchSender)));
    }
    assert_eq!(bodies(storage, &bob, 0).await.len(), 1);
}

/// Whatever the one before sends while being deleted, no `mid` of the next is taken by it.
pub(super) async fn are_deleted_while_they_send(storage: &Arc<dyn Storage>) {
    let bob = create(storage, "bob").await;
    for round in 0..20 {
        let ann = create(storage, "ann").await;
        let gone = as_owner(storage, &ann).await;
        let sending = (0..4).map(|_| {
            let (storage, message) = (Arc::clone(storage), message_of(&gone, &bob, "before"));
            tokio::spawn(async move { storage.append(message).await })
        });
        let sending: Vec<_> = sending.collect();
        assert!(storage.delete_user(&ann).await.unwrap());
        create(storage, "ann").await;
        let next = as_owner(storage, &ann).await;
        let sent = storage.append(message_of(&next, &bob, "behind")).await;
        assert!(sent.unwrap().seq().is_some(), "swallowed in round {round}");
        for sent in sending {
            match sent.await.unwrap() {
                Ok(_) | Err(AppendError::NoSuchSender) => {}
                other => panic!("{other:?}"),
            }
        }
        storage.delete_user(&ann).await.unwrap();
    }
}

/// Gives the owner an address, and the other as a contact that was found by an import.
async fn know(storage: &Arc<dyn Storage>, owner: &UserId, other: &UserId) {
    let address = |user: &UserId| format!("{user}@example.org");
    for user in [owner, other] {
        let change = ProfileChange {
            email: Some(Address {
                text: address(user).into(),
                key: Some(address(user)),
            }),
            ..ProfileChange::default()
        };
        storage
            .change_profile(&as_owner(storage, user).await, change)
            .await
            .unwrap();
    }
    storage
        .add_contact(&as_owner(storage, owner).await, other, 9)
        .await
        .unwrap();
    assert_eq!(find(storage, owner, &address(other)).await, 1);
}

async fn find(storage: &Arc<dyn Storage>, owner: &UserId, email: &str) -> usize {
    find_as(storage, &as_owner(storage, owner).await, email).await
}

async fn find_as(storage: &Arc<dyn Storage>, owner: &Owner, email: &str) -> usize {
    let lookup = Lookup {
        myid: "friend".into(),
        emails: vec![email.to_owned()],
        phones: Vec::new(),
    };
    let limits = FindLimits {
        matches: 9,
        bytes: usize::MAX,
        remembered: 9,
    };
    storage
        .find_users(owner, vec![lookup], limits)
        .await
        .unwrap()
        .len()
}
