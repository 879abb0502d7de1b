//! Users as an operator sees them.

use super::{ALL, append, at, bodies, create, key, message_to, open};
use crate::policy::InboxLimits;
use crate::storage::{Address, Appended, FindLimits, Lookup, ProfileChange, Storage};
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
    for mut again in [from_ann, to_ann] {
        again.now = at(1);
        let again = storage.append(again).await.unwrap();
        assert_eq!(again, Appended::Stored { seq: 2 }, "not a duplicate");
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
        storage.change_profile(user, change).await.unwrap();
    }
    storage.add_contact(owner, other, 9).await.unwrap();
    assert_eq!(find(storage, owner, &address(other)).await, 1);
}

async fn find(storage: &Arc<dyn Storage>, owner: &UserId, email: &str) -> usize {
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
