//! Contacts and finding users.

use super::{as_owner, create};
use crate::address::AddressRule;
use crate::storage::{AddContactError, Address, FindLimits, Lookup, ProfileChange, Storage};
use futures_util::future::join_all;
use messenger_proto::UserId;
use std::sync::Arc;

const LIMITS: FindLimits = FindLimits {
    matches: 100,
    bytes: 1 << 20,
    remembered: 1000,
};

async fn uids(storage: &Arc<dyn Storage>, owner: &UserId) -> Vec<String> {
    let contacts = storage.contacts(owner).await.unwrap().into_iter();
    contacts
        .map(|contact| contact.card.uid.as_str().to_owned())
        .collect()
}

async fn set_addresses(storage: &Arc<dyn Storage>, user: &UserId, email: &str, phone: &str) {
    let address = |text: &str| Address {
        text: text.to_uppercase().into(),
        key: (!text.is_empty()).then(|| text.to_owned()),
    };
    let change = ProfileChange {
        email: Some(address(email)),
        phone: Some(address(phone)),
        ..ProfileChange::default()
    };
    storage
        .change_profile(&as_owner(storage, user).await, change)
        .await
        .unwrap();
}

fn lookup(myid: &str, email: &str, phone: &str) -> Lookup {
    let keys = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Lookup {
        myid: myid.to_owned().into(),
        emails: keys(email),
        phones: keys(phone),
    }
}

/// What is found, as `myid:uid`.
async fn found(
    storage: &Arc<dyn Storage>,
    owner: &UserId,
    entries: Vec<Lookup>,
    limits: FindLimits,
) -> Vec<String> {
    let found = storage
        .find_users(&as_owner(storage, owner).await, entries, limits)
        .await
        .unwrap();
    let found = found.into_iter();
    found
        .map(|contact| format!("{}:{}", contact.myid, contact.card.uid))
        .collect()
}

pub(super) async fn are_listed_in_the_order_they_were_added(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for login in ["zoe", "bob", "max"] {
        let uid = create(storage, login).await;
        let card = storage
            .add_contact(&as_owner(storage, &ann).await, &uid, 10)
            .await
            .unwrap();
        assert_eq!(
            (card.uid.as_str(), card.nick),
            (login, format!("nick of {login}").into())
        );
    }
    assert_eq!(uids(storage, &ann).await, ["zoe", "bob", "max"]);
    storage
        .remove_contact(&as_owner(storage, &ann).await, &"bob".into())
        .await
        .unwrap();
    storage
        .remove_contact(&as_owner(storage, &ann).await, &"bob".into())
        .await
        .unwrap();
    assert_eq!(uids(storage, &ann).await, ["zoe", "max"]);
    storage
        .add_contact(&as_owner(storage, &ann).await, &"bob".into(), 10)
        .await
        .unwrap();
    assert_eq!(uids(storage, &ann).await, ["zoe", "max", "bob"]);
    assert!(uids(storage, &"bob".into()).await.is_empty(), "one-sided");
}

pub(super) async fn are_refused_in_the_documented_order(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    let max = create(storage, "max").await;
    storage
        .add_contact(&as_owner(storage, &ann).await, &bob, 1)
        .await
        .unwrap();
    let unknown = storage
        .add_contact(&as_owner(storage, &ann).await, &"nobody".into(), 1)
        .await;
    assert!(matches!(unknown, Err(AddContactError::NoSuchUser)));
    let again = storage
        .add_contact(&as_owner(storage, &ann).await, &bob, 1)
        .await;
    assert!(matches!(again, Err(AddContactError::AlreadyThere)));
    let full = storage
        .add_contact(&as_owner(storage, &ann).await, &max, 1)
        .await;
    assert!(matches!(full, Err(AddContactError::Full)));
    storage
        .remove_contact(&as_owner(storage, &ann).await, &bob)
        .await
        .unwrap();
    storage
        .add_contact(&as_owner(storage, &ann).await, &max, 1)
        .await
        .unwrap();
}

pub(super) async fn are_found_by_email_and_phone(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    let max = create(storage, "max").await;
    set_addresses(storage, &bob, "b@x", "+1").await;
    set_addresses(storage, &max, "m@x", "+1").await;
    let entries = vec![
        lookup("1", "b@x", "+1"),
        lookup("2", "m@x", ""),
        lookup("3", "no@x", "+9"),
        lookup("5", "no@x m@x b@x", "+9 +1"),
        lookup("4", "", ""),
    ];
    let all = found(storage, &ann, entries, LIMITS).await;
    assert_eq!(all, ["1:bob", "1:max", "2:max", "5:bob", "5:max"]);
    assert!(uids(storage, &ann).await.is_empty(), "finding adds nobody");

    set_addresses(storage, &max, "", "").await;
    let entries = vec![lookup("1", "m@x", ""), lookup("2", "", "+1")];
    assert_eq!(
        found(storage, &ann, entries, LIMITS).await,
        ["2:bob"],
        "max has moved away"
    );
}

pub(super) async fn are_found_by_another_rule(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for number in 0..3 {
        let user = create(storage, &format!("user{number}")).await;
        set_addresses(storage, &user, "all@x", &format!("0171 234567{number}")).await;
    }
    for (region, key) in [("DE", "+491712345671"), ("GB", "+441712345671")] {
        let rule = AddressRule::new(region.parse().unwrap(), 254, 32);
        storage.rekey(&rule).await.unwrap();
        storage.rekey(&rule).await.unwrap();
        let entries = vec![lookup("1", "", key)];
        assert_eq!(found(storage, &ann, entries, LIMITS).await, ["1:user1"]);
    }
    let entries = vec![
        lookup("1", "ALL@X", "+491712345671"),
        lookup("2", "all@x", ""),
    ];
    assert_eq!(
        found(storage, &ann, entries, LIMITS).await,
        ["2:user0", "2:user1", "2:user2"]
    );
}

pub(super) async fn are_remembered_by_their_owners_ids(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let bob = create(storage, "bob").await;
    let max = create(storage, "max").await;
    set_addresses(storage, &bob, "b@x", "").await;
    storage
        .add_contact(&as_owner(storage, &ann).await, &max, 10)
        .await
        .unwrap();
    found(storage, &ann, vec![lookup("id 7", "b@x", "")], LIMITS).await;
    storage
        .add_contact(&as_owner(storage, &ann).await, &bob, 10)
        .await
        .unwrap();
    let contacts = storage.contacts(&ann).await.unwrap();
    let myids: Vec<_> = contacts.iter().map(|contact| &*contact.myid).collect();
    assert_eq!(myids, ["", "id 7"]);
    found(storage, &ann, vec![lookup("id 8", "b@x", "")], LIMITS).await;
    let contacts = storage.contacts(&ann).await.unwrap();
    assert_eq!(
        contacts.last().unwrap().myid,
        "id 8",
        "the last import counts"
    );
    let bobs = storage
        .find_users(
            &as_owner(storage, &bob).await,
            vec![lookup("x", "b@x", "")],
            LIMITS,
        )
        .await
        .unwrap();
    assert_eq!(bobs.len(), 1, "a user is found by themselves as well");
}

/// Of each owner's as many; the rest is found and not remembered.
pub(super) async fn are_remembered_up_to_the_limit(storage: &Arc<dyn Storage>) {
    let (ann, bob) = (create(storage, "ann").await, create(storage, "bob").await);
    for login in ["user1", "user2"] {
        let user = create(storage, login).await;
        set_addresses(storage, &user, login, "").await;
        for owner in [&ann, &bob] {
            storage
                .add_contact(&as_owner(storage, owner).await, &user, 10)
                .await
                .unwrap();
        }
    }
    let limits = FindLimits {
        remembered: 1,
        ..LIMITS
    };
    let myids = async |owner: &UserId| {
        let contacts = storage.contacts(owner).await.unwrap().into_iter();
        contacts
            .map(|contact| contact.myid.to_string())
            .collect::<Vec<_>>()
    };
    for owner in [&ann, &bob] {
        let entries = vec![lookup("a", "user1", ""), lookup("b", "user2", "")];
        assert_eq!(found(storage, owner, entries, limits).await.len(), 2);
        assert_eq!(myids(owner).await, ["a", ""]);
        found(storage, owner, vec![lookup("c", "user1", "")], limits).await;
        assert_eq!(
            myids(owner).await,
            ["c", ""],
            "one that is there may change"
        );
    }
}

pub(super) async fn are_found_up_to_the_limits(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    for number in 0..5 {
        let user = create(storage, &format!("user{number}")).await;
        set_addresses(storage, &user, "all@x", "").await;
        let picture = ProfileChange {
            picture: Some("p".repeat(100).into()),
            ..ProfileChange::default()
        };
        storage
            .change_profile(&as_owner(storage, &user).await, picture)
            .await
            .unwrap();
    }
    let entry = || vec![lookup("a", "all@x", ""), lookup("b", "all@x", "")];
    let matches = FindLimits {
        matches: 3,
        ..LIMITS
    };
    assert_eq!(found(storage, &ann, entry(), matches).await.len(), 6);
    let of_one = storage
        .find_users(&as_owner(storage, &ann).await, entry(), LIMITS)
        .await
        .unwrap();
    let of_one = of_one.first().unwrap().encoded_len();
    let bytes = FindLimits {
        bytes: 3 * of_one,
        ..LIMITS
    };
    assert_eq!(found(storage, &ann, entry(), bytes).await.len(), 3);
}

/// Whoever searches and whoever changes an address must not wait for each other for ever.
pub(super) async fn are_found_while_they_change(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let mut tasks = Vec::new();
    for number in 0..4 {
        let user = create(storage, &format!("user{number}")).await;
        let (changing, searching) = (Arc::clone(storage), Arc::clone(storage));
        let owner = ann.clone();
        tasks.push(tokio::spawn(async move {
            for turn in 0..200 {
                let phone = if turn % 2 == 0 { "+1" } else { "+2" };
                set_addresses(&changing, &user, "all@x", phone).await;
            }
        }));
        tasks.push(tokio::spawn(async move {
            for _ in 0..200 {
                let entries = vec![lookup("a", "all@x", "+1")];
                found(&searching, &owner, entries, LIMITS).await;
            }
        }));
    }
    for done in join_all(tasks).await {
        done.unwrap();
    }
    let entries = vec![lookup("a", "all@x", "")];
    assert_eq!(found(storage, &ann, entries, LIMITS).await.len(), 4);
}
